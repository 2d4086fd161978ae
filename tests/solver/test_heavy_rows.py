"""A few rows much larger than the others, as massive activations are: metrics are poor there."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from probes.solver import fit_logistic, penalty_path
from tests.solver.solver_oracle import true_gap

N, D = 3000, 32
PATH = (10.0, 1.0, 0.1)
TOLERANCE = 1e-4


def heavy(scale: float, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows (1, N, D) whose lengths are log-normal, and labels (N,) that follow their directions."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, D, generator=generator)
    noise = -(-torch.rand(N, classes, generator=generator).log()).log()
    labels = (0.7 * x @ torch.randn(D, classes, generator=generator) + noise).argmax(1)
    return (x * (scale * torch.randn(N, 1, generator=generator)).exp())[None], labels


@pytest.mark.parametrize("scale", [1.5, 2.0, 2.5])
def test_a_search_whose_objective_falls_is_not_given_up(
    scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each penalty starts where the one before ended, in a metric that sees hardly anything to
    gain: the decrement rises for many iterations while the objective falls."""
    dtypes = []
    real = penalty_path._solve

    def solve(problems: Any, dtype: torch.dtype, *rest: Any) -> Any:
        dtypes.append(dtype)
        return real(problems, dtype, *rest)

    monkeypatch.setattr(penalty_path, "_solve", solve)
    z, y = heavy(scale, 12)
    weights, start = torch.ones(1, N), None
    for l2 in PATH:
        fit = fit_logistic(z, y[None], weights, [l2], classes=12, tolerance=TOLERANCE, start=start)
        assert fit.converged.all(), (l2, fit.messages)
        start = fit.weight[:, :, 0], fit.bias[:, :, 0]
    assert set(dtypes) == {torch.float32}, "given up in float32"
    assert true_gap(z[0], y, weights[0], fit, (0, 0, 0), PATH[-1]) <= TOLERANCE


@pytest.mark.parametrize(("classes", "pays"), [(1, 0), (12, 2), (40, 2)])
def test_hessians_of_all_rows_are_formed_as_often_as_they_pay(classes: int, pays: int) -> None:
    """One logit is a Newton step in float64; the Hessians of many classes, which all rows enter,
    take the time of dozens of iterations, so there is not one before each."""
    after = penalty_path._first_hessian(N, D, classes, 1, torch.float64)
    assert after == 0 if classes == 1 else after >= pays
