"""Attribution of all heads, against exact patching where they must agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from probes.interventions.attribution import Attribution
from probes.models.forward import forward
from probes.models.hf_config import model_kind
from probes.models.hooks import hooked
from probes.models.language_model import body_of, logits
from probes.models.residual_search import find_residual_stream
from probes.models.sites import Site, find_sites
from probes.passes.batches import Batch
from tests.interventions.attributing import (
    ANSWERS,
    ENCODERS,
    EVERY,
    KINKED,
    OTHERS,
    ROUTED,
    Given,
    base_and_other,
    batch_of,
    exact,
    fresh_models,
    opened,
    outputs_at,
    scores_of,
)

__all__ = ["fresh_models"]


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
