"""Intervals: equal to scipy's, and as wide as they must be when rows come in clusters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from probes.core.errors import UserError
from probes.statistics.bootstrap import Draws, Interval, draw_groups, few_groups, quantile_interval
from probes.statistics.group_sums import GroupSums
from probes.statistics.groups import Groups
from probes.statistics.metrics import accuracy_sums, auroc_sums, macro_f1_sums

IntervalOf = Callable[[Draws, GroupSums], Interval]


def clustered(
    random: np.random.Generator,
    repetitions: int,
    groups: int,
    rows: int,
    *,
    mean: float = 0.7,
    spread: float = 0.18,
) -> npt.NDArray[np.bool_]:
    """Correctness of rows whose groups have accuracies of their own: (repetitions, n)."""
    concentration = mean * (1 - mean) / spread**2 - 1
    rate = random.beta(mean * concentration, (1 - mean) * concentration, size=(repetitions, groups))
    return random.random((repetitions, groups * rows)) < np.repeat(rate, rows, axis=1)


def percentile(draws: Draws, sums: GroupSums) -> Interval:
    """Quantiles of the draws, as differences of depth profiles are given."""
    return quantile_interval(
        sums.resampled(draws.multiplicity), draws.confidence, groups=draws.groups
    )


def coverage(
    correct: npt.NDArray[np.bool_],
    index: npt.NDArray[np.int64],
    truth: float,
    interval_of: IntervalOf,
) -> float:
    """Share of simulated data sets (taken as heads) whose interval holds the true accuracy."""
    labels = np.ones(correct.shape[1], dtype=int)
    hits: list[npt.NDArray[np.bool_]] = []
    for part in np.array_split(correct, 10):  # draws of their own for each part
        groups = Groups.of(index)
        draws = draw_groups(len(groups), 1000, seed=len(hits))
        interval = interval_of(draws, accuracy_sums(part.astype(int), labels, groups))
        hits.append((interval.low <= truth) & (truth <= interval.high))
    return float(np.concatenate(hits).mean())


@pytest.mark.parametrize("interval_of", [percentile, Draws.interval])
@pytest.mark.parametrize("groups", [15, 60])
def test_nominal_95_percent_covers_95_percent_under_clusters(
    interval_of: IntervalOf, groups: int
) -> None:
    correct = clustered(np.random.default_rng(0), 3000, groups, 12)
    index = np.repeat(np.arange(groups), 12)
    assert 0.93 <= coverage(correct, index, 0.7, interval_of) <= 0.97


def test_resampling_rows_fails_visibly_under_clusters() -> None:
    correct = clustered(np.random.default_rng(0), 2000, 60, 12)
    assert coverage(correct, np.arange(correct.shape[1]), 0.7, percentile) < 0.85


def test_bca_equals_scipy_on_the_same_draws() -> None:
    # scipy resamples by its own random numbers: with many draws the levels agree.
    random = np.random.default_rng(1)
    groups = 40
    correct = clustered(random, 1, groups, 10, mean=0.93, spread=0.08)
    sums = accuracy_sums(
        correct.astype(int), np.ones(400, dtype=int), Groups.of(np.arange(400) // 10)
    )
    by_group = sums.by_unit[0, :, 0] / 10
    got = draw_groups(groups, 40_000, seed=0).interval(sums)
    # Hesterberg's widening is undone by asking scipy for the widened confidence.
    tail = stats.norm.cdf(np.sqrt(groups / (groups - 1)) * stats.t.ppf(0.025, groups - 1))
    expected = stats.bootstrap(
        (by_group,), np.mean, confidence_level=1 - 2 * tail, n_resamples=40_000, method="BCa",
        random_state=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    assert got.low[0] == pytest.approx(expected.low, abs=2.6e-3)  # one row of 400
    assert got.high[0] == pytest.approx(expected.high, abs=2.6e-3)  # one row of 400


def test_heads_in_slices_equal_heads_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(2)
    labels, groups = random.integers(0, 2, 90), Groups.of(np.arange(90) // 6)
    scores = random.normal(size=(7, 90))
    draws = draw_groups(15, 200, seed=0)
    for sums in (auroc_sums(scores, labels, groups),
                 macro_f1_sums((scores > 0).astype(int), labels, groups, 2)):  # fmt: skip
        whole = draws.interval(sums)
        monkeypatch.setattr("probes.statistics.bootstrap.CELLS", 1000)
        sliced = draws.interval(sums)
        monkeypatch.undo()
        np.testing.assert_array_equal(whole.low, sliced.low)
        np.testing.assert_array_equal(whole.high, sliced.high)


def test_difference_is_paired() -> None:
    # Two heads that fail on the same groups: the difference is far more certain than either.
    random = np.random.default_rng(5)
    easy = clustered(random, 1, 50, 10, spread=0.3)
    better = easy | (random.random(easy.shape) < 0.1)
    labels, groups = np.ones(500, dtype=int), Groups.of(np.arange(500) // 10)
    a, b = (accuracy_sums(x.astype(int), labels, groups) for x in (better, easy))
    draws = draw_groups(50, 2000, seed=0)
    single, paired = draws.interval(a), draws.interval(a, minus=b)
    assert (paired.high - paired.low)[0] < 0.5 * (single.high - single.low)[0]
    assert paired.low[0] < (a.value() - b.value())[0] < paired.high[0]


def test_undefined_draws_are_left_out() -> None:
    replicates = np.array([[0.1, np.nan], [0.2, 0.5], [0.3, 0.5], [0.4, np.nan]])
    interval = quantile_interval(replicates, 0.9, groups=4)
    assert interval.low[1] == interval.high[1] == 0.5
    assert 0.1 <= interval.low[0] < interval.high[0] <= 0.4


def test_all_right_gives_an_interval_of_length_zero_and_not_nan() -> None:
    sums = accuracy_sums(
        np.ones((1, 40), dtype=int), np.ones(40, dtype=int), Groups.of(np.arange(40) // 4)
    )
    for interval_of in (percentile, Draws.interval):
        interval = interval_of(draw_groups(10, 100, seed=0), sums)
        assert interval.low[0] == interval.high[0] == 1.0


def test_one_group_is_refused_with_a_fix() -> None:
    with pytest.raises(UserError, match=r"1 group.*evaluation.bootstrap=0"):
        draw_groups(1, 1000, seed=0)


def test_few_groups_are_said() -> None:
    assert "only 7 documents" in (few_groups(7, "document") or "")
    assert few_groups(20, "document") is None
