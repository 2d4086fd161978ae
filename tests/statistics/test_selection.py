"""The best of many heads: naive estimates are too high, corrected ones are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from probes.statistics.bootstrap import draw_groups
from probes.statistics.group_sums import GroupSums, mean_sums
from probes.statistics.groups import Groups
from probes.statistics.metrics import accuracy_sums
from probes.statistics.selection import best_on_validation, best_out_of_bag

HEADS, GROUPS, ROWS = 100, 40, 10


def simulated(
    seed: int, truth: npt.NDArray[np.float64], groups: int = GROUPS
) -> npt.NDArray[np.int64]:
    """Correctness (H, n) of heads with these true accuracies, in groups that are easy or hard."""
    random = np.random.default_rng(seed)
    shift = random.normal(0, 0.06, size=(len(truth), groups))
    rate = np.repeat(np.clip(truth[:, None] + shift, 0, 1), ROWS, axis=1)
    return (random.random(rate.shape) < rate).astype(int)


def sums(correct: npt.NDArray[np.int64]) -> GroupSums:
    n = correct.shape[1]
    return accuracy_sums(correct, np.ones(n, dtype=int), Groups.of(np.arange(n) // ROWS))


TRUTHS = {
    "nothing is there": np.full(HEADS, 0.5),
    "many good heads": np.linspace(0.5, 0.65, HEADS),
}


@pytest.mark.parametrize("name", TRUTHS)
def test_validation_choice_is_unbiased_and_covered(name: str) -> None:
    truth = TRUTHS[name]
    errors, naive, covered = [], [], []
    for seed in range(300):
        chosen_on = simulated(10_000 + seed, truth, 15).mean(axis=1)
        reported = sums(simulated(seed, truth))
        best = best_on_validation(reported, draw_groups(GROUPS, 400, seed=seed), chosen_on)
        assert best.head == chosen_on.argmax()
        errors.append(best.value - truth[best.head])
        naive.append(best.naive - truth[best.naive_head])
        covered.append(best.low <= truth[best.head] <= best.high)
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(300)
    assert np.mean(naive) > 0.02 > 3 * np.std(naive) / np.sqrt(300)
    assert np.mean(covered) > 0.92


@pytest.mark.parametrize("name", TRUTHS)
def test_out_of_bag_is_nearly_unbiased_and_never_optimistic(name: str) -> None:
    truth = TRUTHS[name]
    errors, covered = [], []
    for seed in range(150):
        best = best_out_of_bag(sums(simulated(seed, truth)), draw_groups(GROUPS, 400, seed=seed))
        errors.append(best.value - truth[best.naive_head])
        covered.append(best.low <= truth[best.naive_head] <= best.high)
        assert best.value < best.naive
    assert -0.015 < np.mean(errors) < 3 * np.std(errors) / np.sqrt(150)
    assert np.mean(covered) > 0.92


def test_slices_of_draws_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reported, draws = sums(simulated(0, TRUTHS["many good heads"])), draw_groups(GROUPS, 50, seed=0)
    whole = best_out_of_bag(reported, draws)
    monkeypatch.setattr("probes.statistics.selection.CELLS", 500)
    assert best_out_of_bag(reported, draws) == whole


def test_by_size_the_largest_of_either_sign_is_chosen_and_its_value_is_unbiased() -> None:
    truth = np.array([0.0, 0.3, -0.6, 0.0, *np.zeros(20)])
    errors = []
    for seed in range(80):
        random = np.random.default_rng(seed)
        groups = Groups.of(np.repeat(np.arange(30), 4))
        reported = mean_sums("effect", truth[:, None] + random.normal(size=(24, 120)), groups)
        chosen_on = truth + random.normal(0, 0.05, 24)
        draws = draw_groups(30, 100, seed=seed)
        best = best_on_validation(reported, draws, chosen_on, by_size=True)
        assert best.head == 2 and best.value < 0
        bag = best_out_of_bag(reported, draws, by_size=True)
        assert bag.head == bag.naive_head and abs(bag.value) <= abs(bag.naive) + 1e-12
        assert bag.low < bag.value < bag.high
        errors.append(bag.value - truth[bag.head])
    assert abs(np.mean(errors)) < 0.04
    flipped = best_out_of_bag(replace(reported, by_unit=-reported.by_unit), draws, by_size=True)
    assert flipped.value == pytest.approx(-bag.value)
    assert (flipped.low, flipped.high) == pytest.approx((-bag.high, -bag.low))


def test_without_by_size_a_large_negative_value_is_never_best() -> None:
    groups = Groups.of(np.arange(10))
    values = np.stack([np.full(10, -5.0), np.full(10, 0.1)])
    reported = mean_sums("effect", values, groups)
    assert best_on_validation(reported, None, np.array([-5.0, 0.1])).head == 1
    assert best_on_validation(reported, None, np.array([-5.0, np.nan]), by_size=True).head == 0
