"""Nearly separable classes that are hardly penalised: what is left to gain is no guess."""

from __future__ import annotations

import pytest
import torch

from probes.solver import fit_logistic, newton
from tests.solver.solver_oracle import assert_optimal, true_gap
from tests.solver.test_solver import labels_of, rows

# Each understated its gap, the first fifteenfold, before the whole Hessian was asked; the last with
# two threads, which sum in another order, so that the search ended elsewhere.
CASES = [
    (300, 8, 2, 0.05, 1),
    (900, 16, 3, 0.0, 1),
    (1500, 32, 3, 0.2, 1),
    (900, 16, 8, 0.05, 1),
    (3000, 48, 4, 0.2, 1),
    pytest.param(3000, 48, 4, 0.2, 2, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("count", "width", "classes", "noise", "threads"), CASES)
def test_gap_is_not_understated(
    count: int, width: int, classes: int, noise: float, threads: int
) -> None:
    x = rows(0, count, width)
    labels, weights = labels_of(x, classes, noise)[None], torch.ones(1, count)
    l2 = [1e-1, 1e-3, 1e-5]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        fit = fit_logistic(x[None], labels, weights, l2, classes=classes)
    finally:
        torch.set_num_threads(before)
    assert_optimal(x[None], labels, weights, fit, l2)


def test_row_weights_a_constant_feature_and_a_class_without_rows() -> None:
    x = rows(3, 600, 12)
    x[:, 5] = 2.0
    labels = labels_of(x, 3, 0.05)[None]
    weights = torch.linspace(0.2, 3, 600).index_fill(0, torch.arange(0, 600, 7), 0)[None]
    fit = fit_logistic(x[None], labels, weights, [1e-5], classes=4)
    assert bool(fit.converged.all())
    assert fit.weight[0, 0, 0, :, 5].abs().max() == 0
    present = fit.weight[..., :3, :], fit.bias[..., :3]
    fit = type(fit)(*present, fit.gap, fit.iterations, fit.converged, fit.messages)
    assert true_gap(x, labels[0], weights[0], fit, (0, 0, 0), 1e-5) <= float(fit.gap) + 2e-7


def test_without_the_whole_hessian_the_gap_is_understated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probes.solver.penalty_path.LARGEST", 0)
    x = rows(0, 300, 8)
    labels, weights = labels_of(x, 2, 0.05)[None], torch.ones(1, 300)
    fit = fit_logistic(x[None], labels, weights, [1e-1, 1e-3, 1e-5], classes=2)
    assert true_gap(x, labels[0], weights[0], fit, (0, 0, 2), 1e-5) > 2 * float(fit.gap[0, 0, 2])


def test_ordinary_fits_keep_their_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    x = rows(1)
    labels, weights = labels_of(x, 3, 2.0)[None], torch.ones(1, len(x))
    fit = fit_logistic(x[None], labels, weights, [10.0, 0.1], classes=3)
    monkeypatch.setattr("probes.solver.penalty_path.LARGEST", 0)
    before = fit_logistic(x[None], labels, weights, [10.0, 0.1], classes=3)
    for name in ("weight", "bias", "gap", "iterations"):
        assert torch.equal(getattr(fit, name), getattr(before, name)), name


def test_a_column_whose_gap_is_below_the_tolerance_keeps_its_parameters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = rows(0)
    labels, weights = labels_of(x, 2, 0.05)[None], torch.ones(1, len(x))
    fit = fit_logistic(x[None], labels, weights, [1e-3], classes=2)
    monkeypatch.setattr("probes.solver.penalty_path.LARGEST", 0)
    before = fit_logistic(x[None], labels, weights, [1e-3], classes=2)
    assert torch.equal(fit.weight, before.weight)
    assert not torch.equal(fit.gap, before.gap), "the gap is the one that the Hessian gives"


def test_a_column_that_was_given_up_takes_no_newton_steps() -> None:
    x = rows(0, 300, 8)
    labels, weights = labels_of(x, 2, 0.05)[None], torch.ones(1, 300)
    fit = fit_logistic(x[None], labels, weights, [1e-3], classes=2, max_iterations=5)
    whole = fit_logistic(x[None], labels, weights, [1e-3], classes=2)
    assert not bool(fit.converged.any()) and any("max_iterations=5" in m for m in fit.messages)
    assert bool(whole.converged.all())


def test_derivatives_are_those_of_the_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probes.solver.tuning.HESSIAN_NUMBERS", 1000)  # several blocks of rows
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 5, generator=generator, dtype=torch.float64)
    w = torch.rand(200, generator=generator, dtype=torch.float64)
    moments = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    penalty = torch.tensor([[0.3] * 5 + [0.0]], dtype=torch.float64)
    live = torch.ones_like(moments)
    live[:, 2] = 0
    objective = newton._Objective(x[None], w, moments, penalty, live)
    v = torch.randn(3, 6, generator=generator, dtype=torch.float64)

    def value(flat: torch.Tensor) -> torch.Tensor:
        u = flat.view(3, 6)
        logits = torch.cat([x, torch.ones(200, 1, dtype=torch.float64)], 1) @ u.T
        loss = (w * logits.logsumexp(1)).sum() - (moments * u).sum()
        return loss + 0.5 * (penalty * u * u).sum()

    flat = v.flatten().requires_grad_()
    (expected,) = torch.autograd.grad(value(flat), flat)
    gradient, hessian = objective.derivatives(v)
    kept = live.flatten() > 0
    torch.testing.assert_close(gradient.flatten()[kept], expected[kept])
    assert gradient.flatten()[~kept].abs().max() == 0
    whole = torch.autograd.functional.hessian(value, flat)
    common = torch.zeros(3, 6, dtype=torch.float64)
    common[:, -1] = 1  # one number added to all intercepts: its curvature is the solver's choice
    extra = (hessian - whole)[5, 5] * torch.outer(common.flatten(), common.flatten())
    difference = (hessian - whole - extra)[kept][:, kept]
    assert difference.abs().max() < 1e-9
    assert objective.value(v) == pytest.approx(float(value(flat.detach())), rel=1e-12)
