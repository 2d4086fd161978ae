"""Shapley values: their axioms, a known game, and one value for each row."""

from __future__ import annotations

import numpy as np
import pytest

from probes.interventions.head_sets import shapley_values
from probes.statistics.bootstrap import draw_groups
from probes.statistics.group_sums import mean_sums
from probes.statistics.groups import Groups


def test_heads_that_do_the_same_share_their_effect_and_sums_are_kept() -> None:
    """Heads 0 and 1 stand in for each other, head 2 adds .3, head 3 nothing."""

    def value(kept: frozenset[int]) -> float:
        return 0.6 * bool(kept & {0, 1}) + 0.3 * (2 in kept)

    values = shapley_values(range(4), value)
    np.testing.assert_allclose(values, [0.3, 0.3, 0.3, 0.0])
    assert values.sum() == pytest.approx(value(frozenset(range(4))) - value(frozenset()))


def test_the_glove_game() -> None:
    """Two left gloves and a right one: pairs are worth 1 (Shapley and Shubik 1969)."""
    values = shapley_values("lmr", lambda kept: float("r" in kept and len(kept) > 1))
    np.testing.assert_allclose(values, [1 / 6, 1 / 6, 4 / 6])


def test_values_by_row_give_intervals() -> None:
    random = np.random.default_rng(0)
    groups = Groups.of(np.arange(200) // 10)
    noise = random.normal(size=(3, 200))
    effects = np.array([0.5, 0.0, -0.5])[:, None] + noise

    def value(kept: frozenset[int]) -> np.ndarray:
        return sum((effects[head] for head in kept), start=np.zeros(200))

    by_row = shapley_values(range(3), value)
    np.testing.assert_allclose(by_row, effects)
    interval = draw_groups(20, 500, seed=0).interval(mean_sums("effect", by_row, groups))
    assert interval.low[0] > 0 > interval.high[2] and interval.low[1] < 0 < interval.high[1]
