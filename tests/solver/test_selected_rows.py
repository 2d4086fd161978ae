"""Rows that are taken where they are stored: the fits of a copy, bit for bit."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from probes.solver import LogisticFit, SelectedRows, fit_logistic

U, M, W = 3, 400, 5


@pytest.fixture
def stored() -> torch.Tensor:
    return torch.randn(U, M, W, generator=torch.Generator().manual_seed(0)).half()


def copied(stored: torch.Tensor, rows: torch.Tensor | None, *, together: bool) -> torch.Tensor:
    z = stored if rows is None else stored[:, rows]
    return z.transpose(0, 1).reshape(1, z.shape[1], U * W) if together else z.clone()


RANGES = torch.cat([torch.arange(0, 150), torch.arange(151, 390), torch.arange(20, 50)])
ROWS = [None, torch.arange(0, M, 3), torch.tensor([5, 399, 0, 17]), RANGES]


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("rows", ROWS, ids=["all", "sorted", "few", "ranges"])
def test_it_indexes_like_a_copy(
    stored: torch.Tensor, rows: torch.Tensor | None, together: bool
) -> None:
    copy, selected = copied(stored, rows, together=together), SelectedRows(stored, rows, together)
    assert selected.shape == copy.shape and len(selected) == len(copy)
    assert selected.nbytes == copy.nbytes and selected.dtype == copy.dtype
    some = torch.tensor([3, 0, 1])
    for index in (slice(None), slice(1, 4), slice(0, None, 2), some, some[:0]):
        assert torch.equal(selected[:, index], copy[:, index])
        filled = selected.fill(torch.empty(copy[:, index].shape), selected.places(index))
        assert torch.equal(filled, copy[:, index].float())
    assert torch.equal(selected[0:1][:, 1:3], copy[0:1][:, 1:3])
    if not together:
        for heads in (slice(1, 3), [2, 0], torch.tensor([1])):
            assert torch.equal(selected[heads][:, :2], copy[heads][:, :2])
        assert torch.equal(selected[1:][1:][:, :], copy[2:])
        assert torch.equal(selected[[2, 0]][1:][[0]][:, :], copy[:1])


@pytest.mark.parametrize("together", [False, True])
def test_the_fit_is_that_of_a_copy(stored: torch.Tensor, together: bool) -> None:
    rows = torch.arange(0, M, 2)
    copy, selected = copied(stored, rows, together=together), SelectedRows(stored, rows, together)
    labels = torch.stack([(stored[0, rows, 0] > 0).long() + (stored[1, rows, 1] > 0).long()] * 2)
    weights = torch.ones(2, len(rows))
    weights[1, ::3] = 0  # trained on other rows
    fits: list[LogisticFit] = [
        fit_logistic(z, labels, weights, [10.0, 1.0, 0.0], classes=3) for z in (copy, selected)
    ]
    for field in dataclasses.fields(LogisticFit):
        first, second = (getattr(fit, field.name) for fit in fits)
        assert torch.equal(first, second) if torch.is_tensor(first) else first == second
