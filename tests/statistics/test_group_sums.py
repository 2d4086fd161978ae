"""Sums over groups of effects and scores: means, ratios of means, rows that are missing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from probes.statistics.bootstrap import draw_groups
from probes.statistics.group_sums import GroupSums, mean_sums, share_sums
from probes.statistics.groups import Groups

H, G, ROWS = 4, 12, 5


@pytest.fixture
def groups() -> Groups:
    return Groups.of(np.random.default_rng(0).permutation(np.repeat(np.arange(G), ROWS)))


def drawn(values: np.ndarray, groups: Groups, multiplicity: np.ndarray) -> np.ndarray:
    """The rows of a draw, repeated as often as their groups: (H, m)."""
    return np.repeat(values, multiplicity[groups.index].astype(int), axis=1)


def test_means_of_effects_equal_a_loop(groups: Groups) -> None:
    random = np.random.default_rng(1)
    effects = random.normal(-0.3, 2, size=(H, G * ROWS))
    sums = mean_sums("effect", effects, groups)
    np.testing.assert_allclose(sums.value(), effects.mean(axis=1))
    draws = draw_groups(G, 7, seed=0).multiplicity
    expected = [drawn(effects, groups, draw).mean(axis=1) for draw in draws]
    np.testing.assert_allclose(sums.resampled(draws), expected, rtol=1e-6)
    jackknife = [effects[:, groups.index != g].mean(axis=1) for g in range(G)]
    np.testing.assert_allclose(sums.without_each(), jackknife)


def test_missing_rows_are_left_out_for_each_unit(groups: Groups) -> None:
    random = np.random.default_rng(2)
    scores = random.random((H, G * ROWS))
    scores[random.random(scores.shape) < 0.3] = np.nan
    scores[3] = np.nan
    sums = mean_sums("score", scores, groups)
    np.testing.assert_allclose(sums.value()[:3], np.nanmean(scores[:3], axis=1))
    assert np.isnan(sums.value()[3])
    draws = draw_groups(G, 5, seed=0).multiplicity
    expected = [np.nanmean(drawn(scores[:3], groups, draw), axis=1) for draw in draws]
    np.testing.assert_allclose(sums.resampled(draws)[:, :3], expected, rtol=1e-6)


def test_a_ratio_of_means_resamples_both_sides_together(groups: Groups) -> None:
    """Numerator and denominator rise and fall with the group: their ratio is nearly certain."""
    random = np.random.default_rng(3)
    size = np.repeat(random.uniform(0.5, 4, G), ROWS)[np.argsort(groups.order)]
    reference = size * random.uniform(0.95, 1.05, G * ROWS)
    effects = np.array([0.2, -0.5, 0.0, 1.0])[:, None] * reference
    ratio = share_sums("effect", groups.sum(effects), groups.sum(reference))
    np.testing.assert_allclose(ratio.value(), effects.sum(axis=1) / reference.sum())
    draws = draw_groups(G, 500, seed=0)
    interval = draws.interval(ratio)
    np.testing.assert_allclose(interval.high, interval.low, atol=1e-6)
    of_means = draws.interval(mean_sums("effect", effects, groups))
    assert (of_means.high - of_means.low)[3] > 0.2


def test_differences_of_effects_are_paired_by_group(groups: Groups) -> None:
    random = np.random.default_rng(4)
    shared = random.normal(0, 3, size=(1, G))[:, groups.index]
    a, b = (shared + 0.2 * random.normal(size=(H, G * ROWS)) + shift for shift in (0.5, 0.0))
    draws = draw_groups(G, 800, seed=0)
    first, second = mean_sums("effect", a, groups), mean_sums("effect", b, groups)
    paired, single = draws.interval(first, minus=second), draws.interval(first)
    assert (paired.low > 0.3).all() and (paired.high < 0.7).all()
    assert (single.low < 0).all() or (single.high - single.low > 1).all()


def test_the_interval_of_a_mean_effect_equals_scipys() -> None:
    effects = np.random.default_rng(5).gamma(1.0, size=(1, 40)) - 0.5
    groups = Groups.of(np.arange(40))
    interval = draw_groups(40, 40_000, seed=0).interval(mean_sums("effect", effects, groups))
    tail = stats.norm.cdf(np.sqrt(40 / 39) * stats.t.ppf(0.025, 39))
    expected = stats.bootstrap(
        (effects[0],), np.mean, confidence_level=1 - 2 * tail, n_resamples=40_000, method="BCa",
        random_state=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    assert interval.low[0] == pytest.approx(expected.low, abs=0.02)
    assert interval.high[0] == pytest.approx(expected.high, abs=0.02)


def test_units_can_be_taken_by_position(groups: Groups) -> None:
    sums: GroupSums = mean_sums("effect", np.random.default_rng(6).normal(size=(H, 60)), groups)
    np.testing.assert_array_equal(sums.of_units(np.array([2, 0])).value(), sums.value()[[2, 0]])
