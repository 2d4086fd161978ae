"""Known truth about estimates: coverage of intervals, the winner's curse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from probes.statistics.bootstrap import draw_groups
from probes.statistics.group_sums import GroupSums
from probes.statistics.groups import Groups
from probes.statistics.metrics import accuracy_sums, macro_f1_sums
from probes.statistics.selection import best_on_validation, best_out_of_bag

ROWS = 10
Result = Iterator[tuple[str, float, float, float]]


def correctness(
    random: np.random.Generator, truth: npt.NDArray[np.float64], groups: int, spread: float
) -> npt.NDArray[np.int64]:
    """Rows (H, groups * ROWS) that heads of these accuracies get right; groups are easy or hard."""
    concentration = np.minimum(truth, 1 - truth) / spread**2 * 0.5
    rate = random.beta(
        (truth * concentration)[:, None],
        ((1 - truth) * concentration)[:, None],
        (len(truth), groups),
    )
    return (random.random((len(truth), groups * ROWS)) < np.repeat(rate, ROWS, axis=1)).astype(int)


def sums_of(correct: npt.NDArray[np.int64], index: npt.NDArray[np.int64]) -> GroupSums:
    return accuracy_sums(correct, np.ones(correct.shape[1], dtype=np.int64), Groups.of(index))


def coverage(size: Any) -> Result:
    """Nominal 95% intervals of accuracies under clustered rows, by group and by row."""
    heads, parts = 10 * size.repetitions, 10  # heads stand for data sets
    for truth, groups in ((0.7, 50), (0.9, 50), (0.7, 20)):
        random = np.random.default_rng(groups)
        by_group, by_row = [], []
        for part in range(parts):
            correct = correctness(random, np.full(heads // parts, truth), groups, 0.18)
            index = np.arange(correct.shape[1])
            for found, codes in ((by_group, index // ROWS), (by_row, index)):
                draws = draw_groups(len(np.unique(codes)), 1000, seed=part)
                interval = draws.interval(sums_of(correct, codes))
                found.append((interval.low <= truth) & (truth <= interval.high))
        name = f"accuracy {truth} in {groups} groups"
        slack = 0.0 if size.repetitions >= 200 else 0.02
        yield f"coverage: {name}", float(np.mean(by_group)), 0.93 - slack, 0.97 + slack
        if groups == 50:
            yield f"coverage: {name}, rows resampled (fails)", float(np.mean(by_row)), 0.4, 0.85
    yield _macro_f1(heads)


def _macro_f1(heads: int) -> tuple[str, float, float, float]:
    """The same for macro-F1 of three unequal classes, its truth from a very large sample."""
    random = np.random.default_rng(1)
    labels = random.choice(3, p=[0.6, 0.3, 0.1], size=(heads, 60 * ROWS))
    right = correctness(random, np.full(heads, 0.7), 60, 0.15).astype(bool)
    guesses = np.where(right, labels, random.integers(0, 3, labels.shape))
    one = np.zeros(labels.size, dtype=np.int64)
    everything = macro_f1_sums(guesses.reshape(1, -1), labels.ravel(), Groups.of(one), 3)
    truth = everything.value()[0]
    groups = Groups.of(np.arange(60 * ROWS) // ROWS)
    covered = []
    for head in range(heads):  # labels differ, so that each data set is a map of its own
        sums = macro_f1_sums(guesses[head : head + 1], labels[head], groups, 3)
        interval = draw_groups(60, 1000, seed=head).interval(sums)
        covered.append(interval.low[0] <= truth <= interval.high[0])
    slack = 0.0 if heads >= 2000 else 0.02
    return "coverage: macro-F1", float(np.mean(covered)), 0.93 - slack, 0.97 + slack


def winners_curse(size: Any) -> Result:
    """The best of many equal heads, and of heads that really differ."""
    heads, groups = size.heads, 60
    for name, truth in (
        ("nothing there", np.full(heads, 0.5)),
        ("many good heads", np.linspace(0.5, 0.7, heads)),
    ):
        errors: dict[str, list[float]] = {"naive": [], "corrected": [], "out of bag": []}
        covered = []
        for seed in range(size.repetitions):
            random = np.random.default_rng(seed)
            chosen_on = correctness(random, truth, 20, 0.1).mean(axis=1)
            reported = correctness(random, truth, groups, 0.1)
            sums = sums_of(reported, np.arange(reported.shape[1]) // ROWS)
            draws = draw_groups(groups, 200, seed=seed)
            best = best_on_validation(sums, draws, chosen_on)
            errors["naive"].append(best.naive - truth[best.naive_head])
            errors["corrected"].append(best.value - truth[best.head])
            covered.append(best.low <= truth[best.head] <= best.high)
            bag = best_out_of_bag(sums, draws)
            errors["out of bag"].append(bag.value - truth[bag.naive_head])
        error = float(3 * np.std(errors["corrected"]) / np.sqrt(size.repetitions))
        bias = {key: float(np.mean(values)) for key, values in errors.items()}
        yield f"winner: bias of the naive best, {name}", bias["naive"], 0.03, 0.15
        yield f"winner: bias of the corrected best, {name}", bias["corrected"], -error, error
        yield f"winner: bias out of bag, {name}", bias["out of bag"], -0.02, error
        low = 0.92 if size.repetitions >= 200 else 0.85
        yield f"winner: coverage of the corrected best, {name}", float(np.mean(covered)), low, 1.0
