"""Metrics of many heads against scikit-learn, one head at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from sklearn import metrics as oracle

from probes.statistics.groups import Groups
from probes.statistics.metrics import METRICS, auroc_sums, recalls

CLASSES = 5


def rows(
    seed: int = 0, heads: int = 4, n: int = 200, groups: int = 23
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Groups]:
    """Predictions of several qualities; class 4 is never a label, class 3 is rare."""
    random = np.random.default_rng(seed)
    labels = random.choice(4, size=n, p=[0.5, 0.3, 0.18, 0.02])
    labels[:4] = range(4)
    predicted = np.where(random.random((heads, n)) < 0.6, labels, random.integers(0, 5, (heads, n)))
    predicted[-1] = 0  # a head that says the majority only
    return predicted, labels, Groups.of(random.integers(0, groups, n) * 7)


ORACLES = {
    "accuracy": oracle.accuracy_score,
    "balanced_accuracy": oracle.balanced_accuracy_score,
    "macro_f1": lambda y, p: oracle.f1_score(y, p, average="macro", zero_division=0),
}


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
@pytest.mark.parametrize("metric", ORACLES)
def test_values_equal_scikit_learn(metric: str) -> None:
    predicted, labels, groups = rows()
    expected = [ORACLES[metric](labels, p) for p in predicted]
    sums = METRICS[metric](predicted, labels, groups, CLASSES)
    np.testing.assert_allclose(sums.value(), expected, rtol=1e-12)


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
@pytest.mark.parametrize("metric", ORACLES)
def test_resampled_equals_rows_repeated(metric: str) -> None:
    # Few groups drawn: some classes are missing from some draws.
    predicted, labels, groups = rows(n=40, groups=8)
    random = np.random.default_rng(1)
    draws = random.multinomial(len(groups), np.full(len(groups), 1 / len(groups)), size=30)
    got = METRICS[metric](predicted, labels, groups, CLASSES).resampled(draws.astype(float))
    for draw, values in zip(draws, got, strict=True):
        repeated = np.repeat(np.arange(40), draw[groups.index])
        expected = [ORACLES[metric](labels[repeated], p[repeated]) for p in predicted]
        np.testing.assert_allclose(values, expected, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
@pytest.mark.parametrize("metric", ORACLES)
def test_the_jackknife_leaves_one_group_out(metric: str) -> None:
    predicted, labels, groups = rows(n=40, groups=8)
    got = METRICS[metric](predicted, labels, groups, CLASSES).without_each()
    for group, values in enumerate(got):
        kept = groups.index != group
        expected = [ORACLES[metric](labels[kept], p[kept]) for p in predicted]
        np.testing.assert_allclose(values, expected, rtol=1e-6)


def scores_of(
    labels: npt.NDArray[np.int64], seed: int = 0, heads: int = 3, ties: bool = False
) -> npt.NDArray[np.float64]:
    random = np.random.default_rng(seed)
    scores = random.normal(size=(heads, len(labels))) + np.linspace(0, 2, heads)[:, None] * labels
    return np.round(scores) if ties else scores


@pytest.mark.parametrize("ties", [False, True])
def test_auroc_equals_scikit_learn(ties: bool) -> None:
    labels = (np.random.default_rng(3).random(300) < 0.3).astype(int)
    scores = scores_of(labels, ties=ties)
    got = auroc_sums(scores, labels, Groups.of(np.arange(300) // 10)).value()
    np.testing.assert_allclose(got, [oracle.roc_auc_score(labels, s) for s in scores], rtol=1e-12)


def test_auroc_draws_follow_the_exact_weighted_area() -> None:
    labels = (np.random.default_rng(3).random(400) < 0.4).astype(int)
    scores, groups = scores_of(labels), Groups.of(np.arange(400) // 8)
    draws = np.random.default_rng(4).multinomial(50, np.full(50, 1 / 50), size=200)
    got = auroc_sums(scores, labels, groups).resampled(draws.astype(float))
    exact = np.array(
        [
            [oracle.roc_auc_score(labels, s, sample_weight=d[groups.index]) for s in scores]
            for d in draws
        ]
    )
    # The neglected term is second order: a small part of the spread between draws.
    assert np.abs(got - exact).max() < 0.35 * exact.std(axis=0).min()
    np.testing.assert_allclose(got.std(axis=0), exact.std(axis=0), rtol=0.05)


def test_auroc_of_one_class_is_undefined_not_wrong() -> None:
    labels = np.zeros(10, dtype=int)
    assert np.isnan(auroc_sums(scores_of(labels), labels, Groups.of(np.arange(10))).value()).all()


def test_recalls_by_class() -> None:
    predicted, labels, _ = rows()
    got = recalls(predicted, labels, CLASSES)
    expected = [oracle.recall_score(labels, p, labels=range(4), average=None) for p in predicted]
    np.testing.assert_allclose(got[:, :4], expected)
    assert np.isnan(got[:, 4]).all()  # no row has the class


def test_group_sums_equal_a_loop() -> None:
    codes = np.array([9, 2, 9, 9, 4])
    groups = Groups.of(codes)
    values = np.arange(10.0).reshape(2, 5)
    for g, name in enumerate([2, 4, 9]):
        np.testing.assert_array_equal(groups.sum(values)[:, g], values[:, codes == name].sum(1))
    np.testing.assert_array_equal(groups.sizes, [1, 1, 3])
