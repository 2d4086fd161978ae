"""Steered passes against one whole pass a text with a hook, on every family of decoders."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from probes.core.errors import UserError
from probes.interventions.directions import Push
from probes.interventions.measures import MEASURES
from probes.interventions.readout import LogitReadout, ProbeReadout
from probes.interventions.scored_texts import ScoredTexts, alignment_of
from probes.interventions.steering import SteeredTokens, Steerer
from probes.models.forward import forward, token_offset
from probes.models.hooks import Visit, hooked
from probes.models.language_model import body_of
from probes.models.restart import Restart
from probes.models.sites import Site, find_sites
from probes.passes.batches import BatchPlan
from probes.training.bank import ProbeBank
from tests.tiny_families import FAMILIES, VOCABULARY
from tests.tiny_models import build, build_with_head, sequences

DECODERS = [name for name, family in FAMILIES.items() if family.kind == "decoder"]
OTHERS = [name for name in FAMILIES if name not in DECODERS]
LENGTHS = (7, 12, 4)
READS = [(0, 3), (0, 4), (0, 6), (1, 11), (2, 1), (2, 3)]
PARTS = [0, 0, 0, 1, 2, 2]
"""An answer of three tokens, one of one, and one of two: the first read is before the answer."""
PUSHED: dict[str, list[list[int]]] = {
    "last": [[3, 4, 6], [11], [1, 3]],
    "generated": [[4, 6], [], [3]],
    "all": [[*range(1, 7)], [*range(1, 12)], [*range(1, 4)]],
}
STRENGTHS = (-2.0, 0.0, 1.0, 5.0)


def texts_of(ids: list[torch.Tensor], classes: int) -> ScoredTexts:
    targets = np.arange(len(READS)) % classes
    return ScoredTexts(
        alignment_of([t.tolist() for t in ids], range(len(ids)), READS),
        part=np.array(PARTS),
        row=np.arange(len(ids)),
        bad=np.zeros(len(ids), dtype=bool),
        example=np.arange(len(ids)),
        targets=targets,
        others=(targets + 1) % classes,
        bounds=np.arange(len(READS) + 1),
    )


def some_heads(sites: list[Site]) -> list[Push]:
    """Heads of the first, a middle and the last layer, two of one."""
    chosen = [(sites[0], 0), (sites[len(sites) // 2], 0), (sites[-1], 0), (sites[-1], 1)]
    heads = dict.fromkeys((site, head % site.units) for site, head in chosen)
    return [Push(site, head, torch.randn(site.width)) for site, head in heads]


def by_hand(sites: list[Site], pushes: list[Push], tokens: list[int], kind: str) -> Visit:
    """A hook that adds to the heads of a single text, one token after another."""

    def add(site: Site, z: torch.Tensor) -> torch.Tensor:
        z, offset = z.clone(), token_offset(kind, site.stream)  # type: ignore[arg-type]
        for push in pushes:
            for token in tokens if push.site == site else []:
                z[0, token + offset, push.head] += push.vector.to(z.dtype)
        return z

    return add


@pytest.mark.parametrize("name", DECODERS)
def test_a_push_is_a_whole_pass_with_a_hook(name: str) -> None:
    model, kind = build_with_head(name, torch.float32), FAMILIES[name].kind
    body = body_of(model)
    sites = find_sites(body)
    restart = Restart(body, kind)
    restart.prove(sites)
    ids = sequences(LENGTHS)
    texts = texts_of(ids, VOCABULARY)
    torch.manual_seed(0)
    pushes = some_heads(sites)
    single = pushes[1:2]
    sets = [[p.times(s) for p in of] for of in (pushes, single) for s in STRENGTHS]
    readout = LogitReadout(model, kind, texts, MEASURES["logit_difference"], VOCABULARY)
    for positions, tokens in PUSHED.items():
        steerer = Steerer(restart, kind, sites, tokens_at_once=60)
        clean, steered = steerer.run(
            BatchPlan(texts.alignment, 24),
            readout,
            SteeredTokens(texts, positions),  # type: ignore[arg-type]
            sets,
        )
        assert steered.shape == (len(sets), 3) and not torch.equal(steered[0], clean)
        for number, strength in enumerate(STRENGTHS * 2):
            if strength == 0:
                assert torch.equal(steered[number], clean)  # to the bit
        size = 1 + float(steered.abs().max())
        for text, of_text in enumerate(ids):
            for number in (0, 3, 4):
                edit = by_hand(sites, sets[number], tokens[text], kind)
                with hooked(body, sites, edit):
                    output = forward(model, kind, of_text[None], torch.ones_like(of_text)[None])
                wanted = sum(
                    float(output.logits[0, t, texts.targets[n]])
                    - float(output.logits[0, t, texts.others[n]])
                    for n, (s, t) in enumerate(READS)
                    if s == text
                )
                assert float(steered[number, text]) == pytest.approx(wanted, abs=5e-4 * size)


@pytest.mark.parametrize("name", OTHERS)
def test_log_odds_of_encoders_and_of_both_stacks(name: str) -> None:
    body, kind = build(name), FAMILIES[name].kind
    heads, residual = find_sites(body), find_sites(body, "residual")
    restart = Restart(body, kind)
    restart.prove(heads)
    last = [s for s in residual if s.stream == residual[-1].stream][-1]
    ids = sequences(LENGTHS)
    texts = dataclasses.replace(texts_of(ids, 3), targets=np.full(len(READS), 2))
    torch.manual_seed(0)
    weight, bias = torch.randn(1, 3, last.width), torch.randn(1, 3)
    bank = ProbeBank(
        "linear", "f", ("a", "b", "c"), "residual", last.stream, last.layer, (0,),
        {"weight": weight, "bias": bias},
    )  # fmt: skip
    fold = np.zeros(len(READS), dtype=int)
    readout = ProbeReadout(
        body, kind, texts, MEASURES["downstream"], last, (bank,), fold, log_odds=True
    )
    pushes = some_heads(heads)
    _, steered = Steerer(restart, kind, heads).run(
        BatchPlan(texts.alignment, 24), readout, SteeredTokens(texts, "all"), [pushes]
    )
    for text, of_text in enumerate(ids):
        kept: list[torch.Tensor] = []

        def keep(_: Site, z: torch.Tensor, into: list[torch.Tensor] = kept) -> None:
            into.append(z.clone())

        edit = by_hand(heads, pushes, PUSHED["all"][text], kind)
        with (
            hooked(body, heads, edit),
            hooked(body, [last], keep),
        ):
            forward(body, kind, of_text[None], torch.ones_like(of_text)[None])
        wanted = 0.0
        for sequence, token in READS:
            if sequence == text:
                end = kept[0][0, token + token_offset(kind, last.stream), 0].double()
                said = weight[0].double() @ end + bias[0].double()
                wanted += float(said[2] - said[:2].logsumexp(0))
        assert float(steered[0, text]) == pytest.approx(wanted, rel=2e-3, abs=2e-3)


def test_log_odds_of_a_sure_probe_are_not_rounded_away() -> None:
    """Of a probability of 1 - 1e-20 they are 46, not infinite."""
    body, kind = build("llama_gqa"), FAMILIES["llama_gqa"].kind
    (site,) = find_sites(body, "residual")[-1:]
    ids = sequences(LENGTHS)
    texts = dataclasses.replace(texts_of(ids, 2), targets=np.ones(len(READS), dtype=int))
    bank = ProbeBank(
        "linear", "f", ("a", "b"), "residual", site.stream, site.layer, (0,),
        {"weight": torch.zeros(1, 1, site.width), "bias": torch.full((1, 1), 46.0)},
    )  # fmt: skip
    fold = np.zeros(len(READS), dtype=int)
    readout = ProbeReadout(
        body, kind, texts, MEASURES["downstream"], site, (bank,), fold, log_odds=True
    )
    plan = BatchPlan(texts.alignment, 999)
    scores = readout(plan.batch(0, 999))
    np.testing.assert_allclose(scores, 46.0, rtol=1e-5)


def test_answers_of_one_token_have_no_generated_tokens() -> None:
    texts = texts_of(sequences(LENGTHS), VOCABULARY)
    alone = dataclasses.replace(texts, part=np.arange(len(READS)), row=np.array(PARTS))
    with pytest.raises(UserError, match=r"one token.*steering\.positions=last"):
        SteeredTokens(alone, "generated").require_some()
    SteeredTokens(texts, "generated").require_some()
