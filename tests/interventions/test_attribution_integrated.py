"""Gradients averaged on the line between two texts, against the integral in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from probes.core.errors import UserError
from probes.interventions.attribution import Attribution
from probes.models.language_model import body_of
from probes.models.sites import Site, find_sites
from probes.passes.batches import Batch
from tests.interventions.attributing import (
    ANSWERS,
    ONE_STACK,
    OTHERS,
    Given,
    base_and_other,
    fresh_models,
    opened,
    outputs_at,
    scores_of,
)

__all__ = ["fresh_models"]


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
