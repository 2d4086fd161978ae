"""The exact solver against scikit-learn, regime by regime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from probes.core.errors import UserError
from probes.solver import fit_logistic
from tests.solver.solver_oracle import assert_optimal

N, D = 900, 16


def rows(seed: int = 0, n: int = N, d: int = D) -> torch.Tensor:
    """Heavy-tailed, correlated features: (n, d)."""
    rng = np.random.default_rng(seed)
    latent = rng.standard_t(5, (n, d)) * np.arange(1, d + 1) ** -0.5
    return torch.from_numpy(latent @ rng.standard_normal((d, d))).float()


def labels_of(x: torch.Tensor, classes: int, noise: float, seed: int = 0) -> torch.Tensor:
    """Labels that a noisy linear teacher gives to standardised x: (n,)."""
    rng = np.random.default_rng(seed)
    scores = (
        (x - x.mean(0))
        / x.std(0).clamp_min(1e-9)
        @ torch.from_numpy(rng.standard_normal((x.shape[1], classes))).float()
    )
    scores += noise * torch.from_numpy(rng.gumbel(size=scores.shape)).float()
    return scores.argmax(1)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_path_of_penalties_folds_and_control_labels_in_one_bank(classes: int) -> None:
    z = torch.stack([rows(0), rows(1)])
    y = labels_of(z[0], classes, 2.0)
    control = torch.from_numpy(np.random.default_rng(3).integers(0, classes, N))
    fold = torch.arange(N) * 3 // N
    labels = torch.stack([y, y, y, control])
    weights = torch.stack([*((fold != k).float() for k in range(3)), torch.ones(N)])
    l2 = [100.0, 1.0, 1e-2]
    fit = fit_logistic(z, labels, weights, l2, classes=classes)
    columns = 1 if classes == 2 else classes
    assert fit.weight.shape == (2, 4, 3, columns, D)
    assert fit.bias.shape == (2, 4, 3, columns)
    assert fit.gap.shape == fit.iterations.shape == fit.converged.shape == (2, 4, 3)
    assert_optimal(z, labels, weights, fit, l2)


REGIMES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "scales from 1e-4 to 1e4": lambda x: x * torch.logspace(-4, 4, D),
    "large means": lambda x: x + 300.0,
    "constant features": lambda x: x.index_fill(1, torch.tensor([2, 5]), 7.3),
    "duplicate features": lambda x: torch.cat([x, x[:, :4]], 1),
    "one row of a feature": lambda x: torch.cat([x, 1e3 * torch.eye(N)[:, :1]], 1),
    "more features than rows": lambda x: rows(9, N, D)[:40].repeat(1, 4) + rows(8, 40, 4 * D),
}


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("classes", [2, 3])
def test_regimes(regime: str, classes: int) -> None:
    y = labels_of(rows(), classes, 2.0)
    x = REGIMES[regime](rows())
    y = y[: len(x)]
    l2 = [10.0, 0.1]
    z, labels, weights = x[None], y[None], torch.ones(1, len(x))
    fit = fit_logistic(z, labels, weights, l2, classes=classes)
    assert_optimal(z, labels, weights, fit, l2)


def test_feature_that_is_constant_in_one_fold_only() -> None:
    x = rows()
    x[: N // 2, 3] = 0.25
    labels = labels_of(x, 2, 2.0).expand(2, -1)
    weights = torch.stack([(torch.arange(N) < N // 2).float(), torch.ones(N)])
    fit = fit_logistic(x[None], labels, weights, [1.0], classes=2)
    assert_optimal(x[None], labels, weights, fit, [1.0])
    assert fit.weight[0, 0, 0, 0, 3] == 0


def test_row_weights_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    weights = torch.from_numpy(rng.exponential(size=(2, N)) * (rng.random((2, N)) > 0.3)).float()
    z = rows()[None]
    for classes in (2, 4):
        labels = labels_of(z[0], classes, 2.0).expand(2, -1)
        fit = fit_logistic(z, labels, weights, [1.0], classes=classes)
        assert_optimal(z, labels, weights, fit, [1.0])


@pytest.mark.parametrize("noise", [0.3, 0.05, 0.0])
def test_nearly_separable_binary(noise: float) -> None:
    x = rows(2, 1500, 48)
    labels = labels_of(x, 2, noise)[None]
    weights, l2 = torch.ones(1, 1500), [10.0, 1e-1, 1e-3]
    fit = fit_logistic(x[None], labels, weights, l2, classes=2)
    assert_optimal(x[None], labels, weights, fit, l2)


def test_nearly_separable_softmax() -> None:
    x = rows(2)
    labels = labels_of(x, 4, 0.02)[None]
    weights, l2 = torch.ones(1, N), [1.0, 1e-2]
    fit = fit_logistic(x[None], labels, weights, l2, classes=4)
    assert_optimal(x[None], labels, weights, fit, l2)


@pytest.mark.parametrize("classes", [2, 4])
def test_class_with_three_rows(classes: int) -> None:
    x = rows()
    y = labels_of(x, classes, 2.0)
    y[y == 0] = 1
    y[[10, 500, 890]] = 0
    l2 = [1.0, 1e-2]
    fit = fit_logistic(x[None], y[None], torch.ones(1, N), l2, classes=classes)
    assert_optimal(x[None], y[None], torch.ones(1, N), fit, l2)


def test_class_without_rows_stays_finite_and_the_others_are_as_without_it() -> None:
    x = rows()
    labels = labels_of(x, 3, 2.0)[None]
    weights = torch.ones(1, N)
    three = fit_logistic(x[None], labels, weights, [1.0], classes=3)
    four = fit_logistic(x[None], labels, weights, [1.0], classes=4)
    assert four.converged.all()
    assert any("no training row of classes [3]" in message for message in four.messages)
    probability = (x @ four.weight[0, 0, 0].T + four.bias[0, 0, 0]).softmax(1)
    assert float(probability[:, 3].max()) < 1e-9
    expected = (x @ three.weight[0, 0, 0].T + three.bias[0, 0, 0]).softmax(1)
    torch.testing.assert_close(probability[:, :3], expected, atol=2e-3, rtol=0)


def test_only_one_class_in_training_rows() -> None:
    x = rows()
    fit = fit_logistic(
        x[None], torch.ones(1, N, dtype=torch.int64), torch.ones(1, N), [1.0], classes=2
    )
    assert float(fit.weight.abs().max()) == 0
    assert float(fit.bias) == 30


@pytest.mark.parametrize("classes", [2, 3])
def test_no_optimum_without_penalty_says_so(classes: int) -> None:
    x = rows(0, 300, 8)
    labels = labels_of(x, classes, 0.0)[None]
    fit = fit_logistic(x[None], labels, torch.ones(1, 300), [1.0, 0.0], classes=classes)
    assert fit.converged.tolist() == [[[True, False]]]
    assert fit.gap[0, 0, 1] == float("inf")
    assert torch.isfinite(fit.weight).all()
    assert any("no optimum" in message for message in fit.messages)


def test_without_penalty_where_there_is_an_optimum() -> None:
    x = rows()
    labels, weights = labels_of(x, 2, 3.0)[None], torch.ones(1, N)
    fit = fit_logistic(x[None], labels, weights, [0.0], classes=2)
    assert fit.converged.all()
    assert not fit.messages
    tiny = fit_logistic(x[None], labels, weights, [1e-8], classes=2)
    torch.testing.assert_close(fit.weight, tiny.weight, atol=5e-3, rtol=5e-3)


def test_cap_is_reported() -> None:
    x = rows(2, 500, 32)
    labels = labels_of(x, 2, 0.0)[None]
    fit = fit_logistic(x[None], labels, torch.ones(1, 500), [1e-4], classes=2, max_iterations=2)
    assert not fit.converged.any()
    assert any("max_iterations=2" in message for message in fit.messages)
    assert float(fit.gap) > 1e-5


def test_half_precision_activations() -> None:
    z = rows()[None].half()
    labels = labels_of(z[0].float(), 2, 2.0)[None]
    fit = fit_logistic(z, labels, torch.ones(1, N), [1.0], classes=2)
    assert_optimal(z.float(), labels, torch.ones(1, N), fit, [1.0])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"classes": 1}, UserError),
        ({"l2": []}, UserError),
        ({"l2": [-1.0]}, UserError),
        ({"labels": torch.full((1, N), 2)}, ValueError),
        ({"weights": -torch.ones(1, N)}, ValueError),
        ({"weights": torch.zeros(1, N)}, ValueError),
        ({"weights": torch.ones(1, N - 1)}, ValueError),
    ],
)
def test_bad_input(changes: dict[str, Any], error: type[Exception]) -> None:
    arguments = {
        "labels": torch.zeros(1, N, dtype=torch.int64),
        "weights": torch.ones(1, N),
        "l2": [1.0],
        "classes": 2,
        **changes,
    }
    with pytest.raises(error):
        fit_logistic(rows()[None], **arguments)
