"""Many rows: they are converted and standardised in blocks, and never copied to float64 whole."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from probes.solver import fit_logistic, standardise, tuning
from probes.solver import rows as products
from probes.solver.buffers import Workspace
from tests.solver.solver_oracle import true_gap


@pytest.mark.parametrize("classes", [2, 4])
def test_float64_arithmetic_on_rows_stored_in_float32(
    monkeypatch: pytest.MonkeyPatch, classes: int
) -> None:
    monkeypatch.setattr(tuning, "FLOAT64_BYTES", 0)
    monkeypatch.setattr(tuning, "STANDARDISED_NUMBERS", 20_000)
    monkeypatch.setattr(tuning, "CONVERTED_BYTES", 100_000)
    seen: list[torch.dtype] = []
    real = products.row_blocks

    def watched(x: Tensor, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
        seen.append(dtype)
        return real(x, dtype)

    monkeypatch.setattr(products, "row_blocks", watched)
    random = np.random.default_rng(1)
    x = torch.from_numpy(random.normal(size=(1, 900, 20))).float()
    scores = x[0, :, :classes]
    y = scores.argmax(-1)  # separable: the objective is small, so float32 does not settle it
    weights = torch.ones(1, 900)
    weights[0, ::7] = 0
    fit = fit_logistic(x, y[None], weights, [1e-5], classes=classes)
    assert torch.float64 in seen
    # The objective is a ten-thousandth a row: that the rows are rounded is visible in it.
    assert fit.converged.all()
    assert true_gap(x[0], y, weights[0], fit, (0, 0, 0), 1e-5) < 1e-3


def test_rows_taken_in_blocks_are_standardised_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    z = torch.from_numpy(5 + random.normal(size=(1, 1000, 30)) * np.logspace(0, -3, 30)).float()
    rows = torch.arange(0, 1000, 3)
    weights = torch.rand(2, len(rows), dtype=torch.float64)
    space = Workspace()
    args = (weights, torch.float64, space)
    monkeypatch.setattr(tuning, "STANDARDISED_NUMBERS", 30 * 37)
    found = standardise.standardise(z, rows, *args)
    kept = z[0, rows].double()
    x = found.x[:, slice(None)]
    torch.testing.assert_close(x[0] * found.scale[0] + found.mean[0], kept)
    mean = (weights @ kept) / weights.sum(1, keepdim=True)
    torch.testing.assert_close(found.centre[0] * found.scale[0] + found.mean[0], mean)
    variance = (weights[:, :, None] * (kept - mean[:, None]) ** 2).sum(1) / weights.sum(1)[:, None]
    torch.testing.assert_close(found.std[0] * found.scale[0], variance.sqrt())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("weights", ["all rows", "two groups"])
def test_half_precision_gives_the_fit_of_the_same_numbers(
    dtype: torch.dtype, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, whatever the size of the blocks that are converted."""
    generator = torch.Generator().manual_seed(3)
    z = (5 + torch.randn(2, 700, 6, generator=generator) * 3).to(dtype)
    z[1, :, 2] = 1.5  # constant
    labels = torch.randint(0, 3, (2, 700), generator=generator)
    w = torch.ones(2, 700)
    if weights == "two groups":
        w[0, 300:] = 0
        w[1, :350] = 0
    monkeypatch.setattr(tuning, "STANDARDISED_NUMBERS", 1000)
    fits = [
        fit_logistic(given, labels, w, [10.0, 1.0, 1e-7], classes=3) for given in (z, z.float())
    ]
    for name in ("weight", "bias", "gap", "iterations"):
        assert torch.equal(getattr(fits[0], name), getattr(fits[1], name)), name


@pytest.mark.parametrize("l2", [1.0, 1e-6], ids=["float32", "float64"])
def test_rows_in_float64_stay_as_they_are(l2: float) -> None:
    z = 3 + torch.randn(1, 100, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    given = z.clone()
    fit_logistic(z, (z[0, :, 0] > 3).long()[None], torch.ones(1, 100), [l2], classes=2)
    assert torch.equal(z, given)
