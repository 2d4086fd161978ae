"""Exact effects against one whole pass a head and text, on every family."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from probes.interventions.direct_readout import DirectReadout
from probes.interventions.exact import ExactEffects
from probes.interventions.measures import MEASURES
from probes.interventions.readout import LogitReadout, ProbeReadout
from probes.interventions.replacements import Constant, FromOtherTexts, Means, Places
from probes.interventions.scored_texts import ScoredTexts, alignment_of
from probes.models.forward import forward, token_offset
from probes.models.hooks import hooked
from probes.models.language_model import body_of, logits
from probes.models.residual_search import find_residual_stream
from probes.models.restart import Restart
from probes.models.sites import Site, find_sites
from probes.passes.batches import BatchPlan
from probes.training.bank import ProbeBank
from tests.tiny_families import FAMILIES, VOCABULARY
from tests.tiny_models import build, build_with_head, sequences

DECODERS = [name for name, family in FAMILIES.items() if family.kind == "decoder"]
OTHERS = [name for name in FAMILIES if name not in DECODERS]


def texts_of(ids: list[torch.Tensor], reads: list[tuple[int, int]], classes: int) -> ScoredTexts:
    """One part and row a sequence; targets and alternatives below ``classes``."""
    count = len(reads)
    targets = np.arange(count) % classes
    return ScoredTexts(
        alignment_of([t.tolist() for t in ids], range(len(ids)), reads),
        part=np.array([sequence for sequence, _ in reads]),
        row=np.arange(len(ids)),
        bad=np.zeros(len(ids), dtype=bool),
        example=np.arange(len(ids)),
        targets=targets,
        others=(targets + 1) % classes,
        bounds=np.arange(count + 1),
    )


def by_hand(
    body: torch.nn.Module,
    kind: str,
    ids: torch.Tensor,
    site: Site,
    head: int,
    value: torch.Tensor | None,
    run: object,
) -> object:
    """One text, one head: a whole pass with a hook."""
    offset = token_offset(kind, site.stream)  # type: ignore[arg-type]

    def put(_: Site, z: torch.Tensor) -> torch.Tensor:
        z = z.clone()
        z[:, offset + 1 :, head] = 0 if value is None else value.to(z.dtype)
        return z

    with hooked(body, [site], put):
        return run(ids[None], torch.ones_like(ids)[None])  # type: ignore[operator]


@pytest.mark.parametrize("name", DECODERS)
def test_mean_ablation_is_a_whole_pass_a_head(name: str) -> None:
    model, family = build_with_head(name, torch.float32), FAMILIES[name]
    body, kind = body_of(model), family.kind
    sites = find_sites(body)
    heads = [(site, head) for site in sites for head in range(site.units)]
    restart = Restart(body, kind)
    restart.prove(sites)
    ids = sequences((7, 12, 4))
    reads = [(0, 3), (0, 6), (1, 11), (2, 3)]
    texts = texts_of(ids, reads, VOCABULARY)
    measure = MEASURES["logit_difference"]
    means = {site: torch.randn(site.units, site.width) for site in sites}
    edit = Constant(kind, Places(), means)
    readout = LogitReadout(model, kind, texts, measure, VOCABULARY)
    values = ExactEffects(restart, readout, heads, tokens_at_once=100).run(
        BatchPlan(texts.alignment, 24), {"mean": edit}
    )["mean"]
    assert values.edited.shape == (len(heads), 3)

    def score(text: int, given: object) -> float:
        said = given.logits[0].double()  # type: ignore[attr-defined]
        return sum(
            float(said[token, texts.targets[read]] - said[token, texts.others[read]])
            for read, (sequence, token) in enumerate(reads)
            if sequence == text
        )

    def run(tokens: torch.Tensor, mask: torch.Tensor) -> object:
        return forward(model, kind, tokens, mask)

    size = 1 + float(values.clean.abs().max())
    for text, tokens in enumerate(ids):
        clean = score(text, run(tokens[None], torch.ones_like(tokens)[None]))
        assert float(values.clean[text]) == pytest.approx(clean, abs=2e-4 * size)
        for number in (0, len(heads) // 2, len(heads) - 1):
            site, head = heads[number]
            said = by_hand(body, kind, tokens, site, head, means[site][head], run)
            assert float(values.edited[number, text]) == pytest.approx(
                score(text, said), abs=2e-4 * size
            )


@pytest.mark.parametrize("name", OTHERS)
def test_ablation_of_encoders_is_scored_by_a_probe(name: str) -> None:
    body, kind = build(name, torch.float32), FAMILIES[name].kind
    sites = find_sites(body)
    heads = [(site, site.units - 1) for site in sites]
    residual = [s for s in find_sites(body, "residual") if s.stream in ("decoder", "encoder")]
    streams = {s.stream for s in residual}
    last = [s for s in residual if s.stream == ("decoder" if "decoder" in streams else "encoder")]
    ids = sequences((7, 12, 4))
    reads = [(0, 3), (0, 6), (1, 11), (2, 3)]
    texts = texts_of(ids, reads, 3)
    bank = ProbeBank(
        "linear", "f", ("a", "b", "c"), "residual", last[-1].stream, last[-1].layer, (0,),
        {"weight": torch.randn(1, 3, last[-1].width), "bias": torch.randn(1, 3)},
    )  # fmt: skip
    readout = ProbeReadout(
        body, kind, texts, MEASURES["downstream"], last[-1], (bank,), np.zeros(4, dtype=int)
    )
    restart = Restart(body, kind)
    restart.prove(sites)
    edit = Constant(kind, Places())  # zeros
    values = ExactEffects(restart, readout, heads, tokens_at_once=100).run(
        BatchPlan(texts.alignment, 24), {"zero": edit}
    )["zero"]
    read: list[torch.Tensor] = []

    def keep(site: Site, z: torch.Tensor) -> None:
        read.append(z[0, :, 0])

    def run(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        read.clear()
        with hooked(body, [last[-1]], keep):
            forward(body, kind, tokens, mask)
        return read[0]

    offset = token_offset(kind, last[-1].stream)
    for text, tokens in enumerate(ids):
        for number, (site, head) in enumerate(heads):
            hidden = by_hand(body, kind, tokens, site, head, None, run)
            wanted = 0.0
            for index, (sequence, token) in enumerate(reads):
                if sequence == text:
                    row = hidden[token + offset]  # type: ignore[index]
                    said = bank.logits(row[None, None])[0, 0].log_softmax(-1)
                    wanted += float(said[texts.targets[index]])
            assert float(values.edited[number, text]) == pytest.approx(wanted, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("name", ["llama_gqa", "gpt2", "gemma2", "gpt_neox"])
def test_patching_a_run_with_itself_changes_no_bit(name: str) -> None:
    model, kind = build_with_head(name, torch.float32), FAMILIES[name].kind
    body = body_of(model)
    sites = find_sites(body)
    heads = [(site, head) for site in sites for head in range(site.units)]
    ids = sequences((7, 7, 7))
    texts = texts_of(ids, [(0, 6), (1, 6), (2, 6)], VOCABULARY)
    plan = BatchPlan(texts.alignment, 1000)
    itself = FromOtherTexts(
        body, kind, sites, Places(first_token=True), [t.numpy() for t in ids], np.arange(3),
        plan.order,
    )  # fmt: skip
    readout = LogitReadout(model, kind, texts, MEASURES["logit_difference"], VOCABULARY)
    exact = ExactEffects(
        Restart(body, kind), readout, heads, tokens_at_once=21,
        direct=DirectReadout(find_residual_stream(model), body, kind, readout),
    )  # fmt: skip
    values = exact.run(plan, {"itself": itself})["itself"]
    assert torch.equal(values.edited, values.clean.expand(len(heads), -1))
    assert values.direct is not None and values.direct_clean is not None
    assert torch.equal(values.direct, values.direct_clean.expand(len(heads), -1))


def test_the_last_layer_of_a_pre_norm_model_has_equal_total_and_direct_effects() -> None:
    # Of parallel blocks: the layer's own MLP does not see what its attention adds.
    model = build_with_head("gpt_neox", torch.float32, use_parallel_residual=True)
    body = body_of(model)
    last = find_sites(body)[-1]
    ids = sequences((7, 12, 4))
    texts = texts_of(ids, [(0, 6), (1, 11), (2, 3)], VOCABULARY)
    readout = LogitReadout(model, "decoder", texts, MEASURES["log_probability"], VOCABULARY)
    exact = ExactEffects(
        Restart(body, "decoder"), readout, [(last, 0), (last, None)],
        direct=DirectReadout(find_residual_stream(model), body, "decoder", readout),
    )  # fmt: skip
    values = exact.run(BatchPlan(texts.alignment, 100), {"zero": Constant("decoder", Places())})
    total = values["zero"].clean - values["zero"].edited
    direct = values["zero"].direct_clean - values["zero"].direct  # type: ignore[operator]
    assert float(total.abs().min()) > 1e-3
    torch.testing.assert_close(direct, total, rtol=1e-3, atol=1e-4)


def test_means_are_over_real_tokens_without_the_first() -> None:
    body = build("llama_gqa", torch.float32)
    sites = find_sites(body)
    ids = sequences((5, 9))
    texts = texts_of(ids, [(0, 4), (1, 8)], VOCABULARY)
    for places, chosen in (
        (Places(), slice(1, None)),
        (Places(first_token=True), slice(None)),
        (Places("read"), slice(-1, None)),
    ):
        means = Means("decoder", sites, places)
        plan = BatchPlan(texts.alignment, 1000)
        batch = plan.batch(0, 1000)
        means.begin(batch)
        with hooked(body, sites, means.visit):
            forward(body, "decoder", batch.input_ids, batch.attention_mask)
        means.end(batch, None)  # type: ignore[arg-type]
        rows: dict[Site, list[torch.Tensor]] = {site: [] for site in sites}
        for tokens in ids:
            with hooked(body, sites, lambda s, z: rows[s].append(z[0, chosen].clone())):  # noqa: B023
                forward(body, "decoder", tokens[None], torch.ones_like(tokens)[None])
        for site, mean in means.finish().items():
            torch.testing.assert_close(mean, torch.cat(rows[site]).mean(0), rtol=1e-4, atol=1e-5)


def test_logits_at_reads_are_the_models_own() -> None:
    model = build_with_head("gemma2", torch.float32)
    ids = torch.stack(sequences((6, 6)))
    mask = torch.ones_like(ids)
    whole = forward(model, "decoder", ids, mask).logits
    at = (np.array([1, 0]), np.array([5, 2]))
    torch.testing.assert_close(logits(model, "decoder", ids, mask, at=at), whole[at])
