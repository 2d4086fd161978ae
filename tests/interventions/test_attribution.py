"""Attribution of all heads, against exact patching where they must agree, and its integral."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from probes.core.errors import UserError
from probes.interventions.attribution import Attribution
from probes.models.forward import forward
from probes.models.hf_config import model_kind
from probes.models.hooks import hooked
from probes.models.language_model import body_of, logits
from probes.models.residual_search import find_residual_stream
from probes.models.sites import Site, find_sites
from probes.passes.alignment import Alignment
from probes.passes.batches import Batch, BatchPlan
from tests import tiny_models
from tests.residual_models import EXTRA, POST_NORM, TO_LOGITS, with_head
from tests.tiny_families import FAMILIES

ENCODERS = [name for name, family in FAMILIES.items() if family.kind == "encoder"]
ONE_STACK = ["llama_gqa", "gpt2", "gemma3", "bloom", "granite", "openai_gpt"]
ANSWERS, OTHERS = torch.tensor([5, 90, 41]), torch.tensor([6, 4, 33])


def batch_of(ids: Tensor, mask: Tensor) -> Batch:
    """A batch whose rows are the last tokens of its sequences."""
    rows = np.arange(len(ids))
    last = (mask.sum(dim=1) - 1).numpy()
    return Batch(0, len(ids), ids, mask, rows, rows, last, last)


def base_and_other(lengths: Sequence[int] = (9, 9, 9)) -> tuple[Batch, Batch]:
    base, other = (tiny_models.pad(tiny_models.sequences(lengths, seed)) for seed in (0, 5))
    return batch_of(*base), batch_of(*other)


def opened(name: str, dtype: torch.dtype = torch.float64) -> Any:
    return tiny_models.build(name, dtype) if name in ENCODERS else with_head(name, dtype)


def scores_of(model: Any, name: str) -> Callable[[Batch], Tensor]:
    """(B,) logit differences at the last token; of encoders what a direction of the end reads."""
    kind = model_kind(model.config)

    def of_logits(batch: Batch) -> Tensor:
        at = (batch.sequence, batch.last)
        values = logits(model, kind, batch.input_ids, batch.attention_mask, at=at, gradients=True)
        return values.gather(1, ANSWERS[:, None])[:, 0] - values.gather(1, OTHERS[:, None])[:, 0]

    def of_hidden(batch: Batch) -> Tensor:
        output = forward(model, kind, batch.input_ids, batch.attention_mask, gradients=True)
        end: Tensor = output.last_hidden_state[batch.sequence, batch.last]
        return (end * torch.linspace(-1, 2, end.shape[-1]).cos()).sum(dim=-1)

    return of_hidden if name in ENCODERS else of_logits


def outputs_at(body: Any, sites: Sequence[Site], batch: Batch) -> dict[Site, Tensor]:
    kept: dict[Site, Tensor] = {}
    with hooked(body, sites, lambda site, z: kept.__setitem__(site, z.clone())):
        forward(body, model_kind(body.config), batch.input_ids, batch.attention_mask)
    return {site: z.clone() for site, z in kept.items()}  # no tensors of inference mode


@dataclass
class Given:
    """Values that are given, at all tokens or some."""

    of_site: dict[Site, Tensor]
    tokens: Tensor | None = None
    """(B, T) text tokens; None: everywhere but under the padding."""
    two_stacks: bool = False
    begun: list[Batch] = field(default_factory=list)

    def begin(self, batch: Batch) -> None:
        self.begun.append(batch)

    def values(self, site: Site) -> Tensor:
        return self.of_site[site]

    def where(self, batch: Batch, site: Site) -> Tensor:
        where = batch.attention_mask.bool() if self.tokens is None else self.tokens
        extra = int(self.two_stacks and site.stream != "encoder")  # the start token
        return torch.nn.functional.pad(where, (extra, 0), value=self.tokens is None)


def exact(
    scores: Callable[[Batch], Tensor],
    body: Any,
    batch: Batch,
    site: Site,
    head: int,
    change: Callable[[Tensor], Tensor],
) -> Tensor:
    """m(edited) - m(base), (B,), with ``z`` of one head replaced by ``change`` of it."""

    def edit(_: Site, z: Tensor) -> Tensor:
        z = z.clone()
        z[:, :, head] = change(z[:, :, head])
        return z

    with torch.no_grad():
        clean = scores(batch)
        with hooked(body, [site], edit):
            return scores(batch) - clean


# --- where it equals exact patching ---------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["gpt_neox", "gptj", "falcon", "phi", "cohere", "llama_gqa", "gpt2", "granite", "t5", "gpt_oss",
     "jamba", "modernbert"],
)  # fmt: skip
def test_it_is_exact_where_the_measure_is_linear(name: str) -> None:
    """The end of the residual stream is linear in the last attention's heads once the MLP that
    follows is taken out (in parallel blocks it does not follow)."""
    model = opened(name)
    body, kind = body_of(model), model_kind(model.config)
    stream = find_residual_stream(model)
    layer = [layer for layer in stream.layers if layer.branches][-1]
    site = [branch.heads for branch in layer.branches if branch.heads is not None][-1]
    assert site is not None
    parallel = name in {"gpt_neox", "gptj", "falcon", "phi", "cohere"}
    mlp = [] if parallel else [branch.output for branch in layer.branches if branch.heads is None]
    direction = torch.linspace(-1, 2, 32, dtype=torch.float64).sin()

    def scores(batch: Batch) -> Tensor:
        read: list[Tensor] = []

        def visit(site: Site, x: Tensor) -> Tensor | None:
            if site == stream.end:
                read.append(x[:, -1, 0])
                return None
            return torch.zeros_like(x)

        with hooked(body, [*mlp, stream.end], visit, stop_after_last=not mlp):
            forward(body, kind, batch.input_ids, batch.attention_mask, gradients=True)
        return read[0] @ direction

    base, other = base_and_other()
    of_other = outputs_at(body, [site], other)
    given = Given(of_other, two_stacks=kind == "encoder-decoder")
    found = Attribution(body, [site], scores).batch(base, given)[site]
    for head in range(site.units):
        expected = exact(scores, body, base, site, head, lambda z: of_other[site][:, :, head])  # noqa: B023
        torch.testing.assert_close(found[:, head], expected, rtol=1e-6, atol=1e-8)
    assert float(found.abs().min()) > 1e-4


EVERY = [*TO_LOGITS, *EXTRA, *POST_NORM, *ENCODERS]
ROUTED = {"mixtral", "qwen3_next", "gpt_oss", "deepseek_v3", "jamba"}
"""The measure jumps where a token goes to other experts."""
KINKED = {"opt", "opt_post_norm", "t5", "bitnet"}
"""ReLU: sums over points are less exact, and slopes need smaller steps."""


@pytest.mark.parametrize("name", [name for name in EVERY if name not in ROUTED])
def test_integrated_over_its_own_output_a_head_has_its_exact_effect(name: str) -> None:
    """Gradients at all sites of all architectures are right: the fundamental theorem of calculus.

    The head's output goes along the straight line, the rest of the model reacts as it does.
    """
    model = opened(name)
    body, plain = body_of(model), scores_of(model, name)
    sites = [s for s in find_sites(body) if s.stream != "encoder" or name in ENCODERS]
    base, other = base_and_other()
    of_base = outputs_at(body, sites, base)
    # Part of the way to the other text: the nearer, the fewer points resolve the curve.
    of_other = outputs_at(body, sites, other)
    target = {site: of_base[site] + 0.2 * (of_other[site] - of_base[site]) for site in sites}
    nodes, weights = np.polynomial.legendre.leggauss(32 if name in KINKED else 10)
    for site in {site.layer: site for site in sites}.values():
        head = site.layer % site.units
        total = torch.zeros(3, dtype=torch.float64)
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):

            def scores(batch: Batch, at: float = node, site: Site = site, h: int = head) -> Tensor:
                change = torch.zeros_like(of_base[site])
                change[:, :, h] = at * (target[site] - of_base[site])[:, :, h]
                with hooked(body, [site], lambda _, z: z + change):
                    return plain(batch)

            given = Given(target, two_stacks=model_kind(body.config) == "encoder-decoder")
            estimates = Attribution(body, sites, scores).batch(base, given)
            total += weight * estimates[site][:, head]
        expected = exact(plain, body, base, site, head, lambda _: target[site][:, :, head])  # noqa: B023
        size = float(expected.abs().max())
        tolerance = 0.02 if name in KINKED else 2e-4  # several families compute in float32 inside
        torch.testing.assert_close(total, expected, rtol=0, atol=max(tolerance * size, 1e-6))


# --- the integrated form --------------------------------------------------------------------------


def line_integral(model: Any, sites: list[Site], base: Batch, other: Batch, name: str) -> Any:
    """The limit of the integrated form by quadrature, with hooks of its own."""
    body = body_of(model)
    embedding: Any = model.get_input_embeddings()
    ends = [embedding(batch.input_ids) for batch in (other, base)]
    z, z_other = (outputs_at(body, sites, batch) for batch in (base, other))
    totals = {site: torch.zeros_like(z[site]) for site in sites}
    nodes, weights = np.polynomial.legendre.leggauss(40)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        seen: dict[Site, Tensor] = {}
        handles = [
            body.get_submodule(site.module).register_forward_pre_hook(
                lambda module, args, site=site, seen=seen: seen.__setitem__(site, args[0])
            )
            for site in sites
        ]
        point = (ends[0] + node * (ends[1] - ends[0])).requires_grad_()
        values = model(inputs_embeds=point).logits[torch.arange(3), torch.from_numpy(base.last)]
        score = (values[torch.arange(3), ANSWERS] - values[torch.arange(3), OTHERS]).sum()
        for handle in handles:
            handle.remove()
        for site, gradient in zip(
            sites, torch.autograd.grad(score, [seen[site] for site in sites]), strict=True
        ):
            totals[site] += weight * gradient.reshape(totals[site].shape)
    return {s: ((z_other[s] - z[s]) * totals[s]).sum(dim=(1, 3)) for s in sites}


@pytest.mark.parametrize("name", ["llama_gqa", "gpt2", "bloom", "gemma3"])
def test_more_steps_converge_to_the_line_integral(name: str) -> None:
    model = opened(name)
    body, sites = body_of(model), find_sites(body_of(model))
    base, other = base_and_other()
    # Embeddings of random weights are far apart: a part of the way is smooth enough to resolve.
    blend_embeddings(body)
    values = Given(outputs_at(body, sites, other))
    expected = line_integral(model, sites, base, other, name)
    errors = []
    for steps in (8, 32, 128):
        estimate = Attribution(
            body, sites, scores_of(model, name), lambda batch: other.input_ids, steps
        ).batch(base, values)
        difference = [(estimate[site] - expected[site]).abs().max() for site in sites]
        errors.append(float(torch.stack(difference).max()))
    size = max(float(expected[site].abs().max()) for site in sites)
    assert errors[1] < 0.5 * errors[0] and errors[2] < 0.35 * errors[1]  # first order: a quarter
    assert errors[2] < 0.05 * size


def blend_embeddings(body: Any) -> None:
    """Draw all embeddings near to one another."""
    weight = body.get_input_embeddings().weight
    weight.data = weight.mean(dim=0) + 0.1 * (weight - weight.mean(dim=0))


@pytest.fixture(autouse=True)
def _fresh_models() -> Any:
    """Some tests change a model, and models are shared."""
    yield
    with_head.cache_clear()


@pytest.mark.parametrize("name", ONE_STACK)
def test_one_step_is_the_plain_form_and_the_last_step_is_the_base(name: str) -> None:
    model = opened(name)
    body, sites = body_of(model), find_sites(body_of(model))
    base, other = base_and_other()
    values, scores = Given(outputs_at(body, sites, other)), scores_of(model, name)
    plain = Attribution(body, sites, scores).batch(base, values)
    one = Attribution(body, sites, scores, lambda batch: other.input_ids, 1).batch(base, values)
    assert all(torch.equal(plain[site], one[site]) for site in sites)
    # Between a text and itself the line is a point.
    same = Attribution(body, sites, scores, lambda batch: base.input_ids, 3).batch(base, values)
    for site in sites:
        torch.testing.assert_close(same[site], plain[site], rtol=1e-9, atol=1e-9)


def test_two_stacks_have_no_line_between_embeddings() -> None:
    model = opened("t5")
    body, sites = body_of(model), find_sites(body_of(model))
    base, other = base_and_other()
    attribution = Attribution(body, sites, scores_of(model, "t5"), lambda batch: other.input_ids, 2)
    with pytest.raises(UserError, match=r"embeds its tokens \d times.*attribution\.steps=1"):
        attribution.batch(base, Given(outputs_at(body, sites, other)))
    with pytest.raises(ValueError, match="needs the tokens of the other texts"):
        Attribution(body, sites, scores_of(model, "t5"), steps=2)


def test_other_texts_of_another_length_are_a_mistake() -> None:
    model = opened("gpt2")
    body, sites = body_of(model), find_sites(body_of(model))
    base, other = base_and_other()
    attribution = Attribution(
        body, sites, scores_of(model, "gpt2"), lambda batch: other.input_ids[:, 1:], 2
    )
    with pytest.raises(ValueError, match=r"other texts of \(3, 8\) tokens for a batch of \(3, 9\)"):
        attribution.batch(base, Given(outputs_at(body, sites, other)))


# --- which tokens, which sequences ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama_gqa", "gpt2", "bert", "gemma2", "mixtral"])
def test_padding_has_no_part_in_it(name: str) -> None:
    """Each sequence as if it were alone, whatever values are given under the padding."""
    model = opened(name, torch.float32)
    body, sites = body_of(model), find_sites(body_of(model))
    base, other = base_and_other((7, 12, 4))
    of_other = outputs_at(body, sites, other)
    padding = ~base.attention_mask.bool()
    for z in of_other.values():
        z[padding] = torch.nan
    together = Attribution(body, sites, scores_of(model, name)).batch(base, Given(of_other))
    for row, length in enumerate((7, 12, 4)):
        alone = batch_of(
            *(x[row : row + 1, :length] for x in (base.input_ids, base.attention_mask))
        )
        given = Given({site: z[row : row + 1, :length] for site, z in of_other.items()})
        expected = Attribution(body, sites, alone_scores(model, name, row)).batch(alone, given)
        for site in sites:
            actual = together[site][row]
            torch.testing.assert_close(actual, expected[site][0], rtol=1e-3, atol=1e-3)


def alone_scores(model: Any, name: str, row: int) -> Callable[[Batch], Tensor]:
    """The scores of a batch of one that is a row of the larger one."""
    whole = scores_of(model, name)

    def scores(batch: Batch) -> Tensor:
        if name in ENCODERS:
            return whole(batch)
        at = (batch.sequence, batch.last)
        ids, mask = batch.input_ids, batch.attention_mask
        values = logits(model, model_kind(model.config), ids, mask, at=at, gradients=True)
        return values[:, ANSWERS[row]] - values[:, OTHERS[row]]

    return scores


def test_only_the_edited_tokens_count() -> None:
    model = opened("llama_gqa")
    body, sites = body_of(model), find_sites(body_of(model))
    base, other = base_and_other()
    scores, of_other = scores_of(model, "llama_gqa"), outputs_at(body, sites, other)
    by_token = []
    for token in range(9):
        tokens = torch.zeros(3, 9, dtype=torch.bool)
        tokens[:, token] = True
        by_token.append(Attribution(body, sites, scores).batch(base, Given(of_other, tokens)))
    whole = Attribution(body, sites, scores).batch(base, Given(of_other))
    for site in sites:
        total = torch.stack([found[site] for found in by_token]).sum(dim=0)
        torch.testing.assert_close(total, whole[site])
    last = sites[-1]  # of the last layer only the token that is read matters
    assert all(float(found[last].abs().max()) == 0 for found in by_token[:-1])


@pytest.mark.parametrize("name", EVERY)
def test_means_instead_of_another_text(name: str) -> None:
    """One vector for all tokens, and a small step to and from it against the exact effect."""
    model = opened(name)
    body, scores = body_of(model), scores_of(model, name)
    sites = find_sites(body)
    base, _ = base_and_other()
    of_base = outputs_at(body, sites, base)
    step = 1e-4 if name in KINKED else 1e-3
    means = {site: of_base[site].mean(dim=(0, 1), keepdim=True) for site in sites}
    given = Given(means, two_stacks=model_kind(body.config) == "encoder-decoder")
    found = Attribution(body, sites, scores).batch(base, given)
    for site in sites[::2]:
        for head in range(0, site.units, 3):
            toward, away = (
                exact(scores, body, base, site, head, nearer(means[site][:, :, head], share))
                for share in (step, -step)
            )
            slope = (toward - away) / (2 * step)
            size = float(found[site].abs().max())
            allowed = (0.02 if name in KINKED else 5e-3) * size + 1e-6
            torch.testing.assert_close(found[site][:, head], slope, rtol=0, atol=allowed)


def nearer(mean: Tensor, share: float) -> Callable[[Tensor], Tensor]:
    """Part of the way from a head's output to its mean."""
    return lambda z: z + share * (mean - z)


def test_half_precision_is_summed_in_float32() -> None:
    model, wide = opened("llama_gqa", torch.bfloat16), opened("llama_gqa", torch.float32)
    base, other = base_and_other()
    sites = find_sites(body_of(model))
    found = [
        Attribution(body_of(m), sites, scores_of(m, "llama_gqa")).batch(
            base, Given(outputs_at(body_of(m), sites, other))
        )
        for m in (model, wide)
    ]
    for site in sites:
        assert found[0][site].dtype == torch.float32
        scale = float(found[1][site].abs().max())
        assert float((found[0][site] - found[1][site]).abs().max()) < 0.2 * scale


# --- over a plan ----------------------------------------------------------------------------------


def plan_of(sequences: Sequence[Tensor], budget: int) -> BatchPlan:
    """A plan of token sequences whose rows are their last tokens."""
    count, lengths = len(sequences), [len(ids) for ids in sequences]
    rows, last = np.arange(count, dtype=np.int32), np.array(lengths, dtype=np.int32) - 1
    alignment = Alignment(
        ids=torch.cat(list(sequences)).numpy().astype(np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        example=rows,
        sequence=rows,
        first=last,
        last=last,
        unit=rows,
        grouped=rows,
        bounds=np.arange(count + 1),
        counts={},
    )
    return BatchPlan(alignment, budget)


def one_token(model: Any) -> Callable[[Batch], Tensor]:
    def scores(batch: Batch) -> Tensor:
        at = (batch.sequence, batch.last)
        ids, mask = batch.input_ids, batch.attention_mask
        return logits(model, "decoder", ids, mask, at=at, gradients=True)[:, 7]

    return scores


def test_a_plan_is_attributed_in_its_own_order_and_batches_are_let_go() -> None:
    model = opened("llama_gqa", torch.float32)
    body, sites = body_of(model), find_sites(body_of(model))
    sequences = tiny_models.sequences([4, 11, 7, 11, 5, 9, 6, 8])
    zero = Given({site: torch.zeros(1, 1, site.units, site.width) for site in sites})
    alive: list[weakref.ref[Tensor]] = []
    scored = one_token(model)

    def scores(batch: Batch) -> Tensor:
        assert all(past() is None for past in alive)  # of the batches before this one
        values = scored(batch)
        alive.append(weakref.ref(values))
        return values

    found = Attribution(body, sites, scores).run(plan_of(sequences, 24), zero)
    assert len(alive) == len(zero.begun) > 2
    for number, ids in enumerate(sequences):
        alone = batch_of(ids[None], torch.ones(1, len(ids), dtype=torch.long))
        expected = Attribution(body, sites, scored).batch(alone, zero)
        for site in sites:
            torch.testing.assert_close(
                found[site][number], expected[site][0].double(), rtol=1e-3, atol=1e-4
            )


def test_a_batch_that_runs_out_of_memory_is_halved() -> None:
    model = opened("llama_gqa", torch.float32)
    body, sites = body_of(model), find_sites(body_of(model))
    zero = Given({site: torch.zeros(1, 1, site.units, site.width) for site in sites})
    scored = one_token(model)

    def short(batch: Batch) -> Tensor:
        if batch.count > 2:
            raise MemoryError
        return scored(batch)

    plan = plan_of(tiny_models.sequences([6] * 8), 48)
    found, expected = (Attribution(body, sites, s).run(plan, zero) for s in (short, scored))
    for site in sites:
        torch.testing.assert_close(found[site], expected[site], rtol=1e-4, atol=1e-4)


def test_all_heads_take_one_recorded_pass() -> None:
    model = opened("llama_gqa", torch.float32)
    body, sites = body_of(model), find_sites(body_of(model))
    base, other = base_and_other()
    values = Given(outputs_at(body, sites, other))
    passes: list[bool] = []
    body.register_forward_hook(lambda *args: passes.append(torch.is_grad_enabled()))
    scores = scores_of(model, "llama_gqa")
    Attribution(body, sites, scores).batch(base, values)
    assert passes == [True]
    Attribution(body, sites, scores, lambda batch: other.input_ids, 4).batch(base, values)
    assert passes == [True] * 5
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_scores_without_a_gradient_are_refused() -> None:
    model = opened("llama_gqa")
    body, sites = body_of(model), find_sites(body_of(model))
    base, other = base_and_other()
    scores = scores_of(model, "llama_gqa")
    attribution = Attribution(body, sites, lambda batch: scores(batch).detach())
    with pytest.raises(UserError, match=r"methods=\[attribution\]: gradients do not pass through"):
        attribution.batch(base, Given(outputs_at(body, sites, other)))
