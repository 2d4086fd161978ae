"""Attribution over a plan of batches: its order, memory, passes and refusals."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from probes.core.errors import UserError
from probes.interventions.attribution import Attribution
from probes.models.language_model import body_of, logits
from probes.models.sites import find_sites
from probes.passes.alignment import Alignment
from probes.passes.batches import Batch, BatchPlan
from tests import tiny_models
from tests.interventions.attributing import (
    Given,
    base_and_other,
    batch_of,
    fresh_models,
    opened,
    outputs_at,
    scores_of,
)

__all__ = ["fresh_models"]


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
