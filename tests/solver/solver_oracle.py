"""scikit-learn in float64 on separately standardised rows: what the exact solver must equal."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from probes.solver import LogisticFit

Array = npt.NDArray[Any]


def objective(
    x: Array,
    y: Array,
    weights: Array,
    coef: Array,
    intercept: Array,
    l2: float,
    scale: Array | float,
) -> float:
    """The objective of a probe on raw x whose penalty is on features divided by ``scale``."""
    logits = x @ coef.T + intercept  # (n, C')
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    loss = logsumexp(logits, axis=1) - logits[np.arange(len(y)), y]
    return float((weights * loss).sum() + l2 / 2 * ((coef * scale) ** 2).sum())


def true_gap(z: Tensor, y: Tensor, weights: Tensor, fit: LogisticFit, at: Any, l2: float) -> float:
    """Relative objective gap of column ``at`` = (head, problem, penalty) to the float64 optimum."""
    rows = (weights > 0).numpy()
    x, labels = z.double().numpy()[rows], y.numpy()[rows]
    w = weights.double().numpy()[rows]
    scaler = StandardScaler().fit(x, sample_weight=w)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = LogisticRegression(C=1 / l2, solver="newton-cholesky", tol=1e-12, max_iter=1000)
        oracle.fit(scaler.transform(x), labels, sample_weight=w)
    coef = oracle.coef_ / scaler.scale_
    intercept = oracle.intercept_ - coef @ scaler.mean_
    best = objective(x, labels, w, coef, intercept, l2, scaler.scale_)
    weight, bias = fit.weight[at].double().numpy(), fit.bias[at].double().numpy()
    return (objective(x, labels, w, weight, bias, l2, scaler.scale_) - best) / best


def assert_optimal(
    z: Tensor, labels: Tensor, weights: Tensor, fit: LogisticFit, l2: Sequence[float]
) -> None:
    """Every column converged, within 1e-5 of the oracle, and not worse than it says."""
    assert fit.converged.all(), fit.messages
    gaps = []
    for h in range(z.shape[0]):
        for p in range(labels.shape[0]):
            for k, penalty in enumerate(l2):
                at = (h, p, k)
                gap = true_gap(z[h], labels[p], weights[p], fit, at, penalty)
                assert gap <= 1e-5, (at, gap)
                assert gap <= float(fit.gap[at]) + 2e-7, (at, gap, float(fit.gap[at]))
                gaps.append(gap)
    if len(gaps) >= 4:  # a median of two is only their mean
        assert np.median(gaps) <= 2e-6, np.median(gaps)
