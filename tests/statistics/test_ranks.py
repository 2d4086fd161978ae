"""Rank correlations against scipy and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from probes.statistics.ranks import fisher_interval, jackknife_variance, spearman, weighted_spearman


def test_spearman_equals_scipy_with_ties() -> None:
    random = np.random.default_rng(0)
    x, y = random.integers(0, 5, (3, 12)).astype(float), random.normal(size=(3, 12))
    want = [stats.spearmanr(a, b).statistic for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(spearman(x, y), want)


def test_integer_weights_are_copies_of_units() -> None:
    random = np.random.default_rng(1)
    x, y = random.integers(0, 6, (4, 15)).astype(float), random.normal(size=(4, 15))
    weights = random.integers(1, 5, 15)
    want = [
        stats.spearmanr(np.repeat(a, weights), np.repeat(b, weights)).statistic
        for a, b in zip(x, y, strict=True)
    ]
    np.testing.assert_allclose(weighted_spearman(x, y, weights.astype(float)), want)
    np.testing.assert_allclose(weighted_spearman(x, y, np.full(15, 2.5)), spearman(x, y))


def test_a_unit_of_weight_0_does_not_count() -> None:
    random = np.random.default_rng(2)
    x, y = random.normal(size=(2, 1, 9))
    weights = np.ones(9)
    weights[4] = 0
    rest = np.arange(9) != 4
    np.testing.assert_allclose(weighted_spearman(x, y, weights), spearman(x[:, rest], y[:, rest]))


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(3).normal(size=40)
    without = (values.sum() - values) / 39
    assert jackknife_variance(without) == pytest.approx(values.var(ddof=1) / 40)


def test_intervals_from_one_part_and_from_none() -> None:
    low, high = fisher_interval(0.5, [(0.04, 30)], 0.95)
    reach = stats.t.ppf(0.975, 30) * 0.2
    assert (low, high) == pytest.approx(tuple(np.tanh(np.arctanh(0.5) + np.array([-reach, reach]))))
    wider = fisher_interval(0.5, [(0.04, 30), (0.04, 30)], 0.95)
    assert wider[0] < low < high < wider[1]
    assert fisher_interval(0.5, [(0.0, 30)], 0.95) == pytest.approx((0.5, 0.5))
    assert np.isnan(fisher_interval(0.5, [], 0.95)).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_near_perfect_order_keeps_an_interval_on_its_side(sign: int) -> None:
    """Left-out values from .981 to .997 around .99, as measured on two maps of one model."""
    low, high = sorted(sign * end for end in fisher_interval(sign * 0.99, [(1.69, 23)], 0.95))
    assert 0.9 < low < 0.99 < high < 1
    # An interval that is wide for want of groups stays as wide as the scale makes it.
    low, high = fisher_interval(0.3, [(2.0, 3)], 0.95)
    assert low < -0.9 and high > 0.99
