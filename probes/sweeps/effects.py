"""What each swept key does: accuracy against its values, and paired differences between jobs.

Jobs are paired that are equal in all other keys, so that a difference is that of the key alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from probes.sweeps.values import in_order

SERIES = 120
"""Lines in one drawing; the mean is of all."""
CONFIDENCE = 0.95
FEW = 3
"""Pairs below which a difference has no interval."""

Point = tuple[tuple[str, ...], float]
"""Values of the swept keys of a job, and what its best head reaches."""


@dataclass(frozen=True)
class Difference:
    """One value of a key against another, over all pairs of jobs."""

    value: str
    reference: str
    mean: float
    low: float | None
    high: float | None
    """Interval of the mean over pairs (Student's t): it is about other jobs of this kind, and knows
    nothing of the rows that each of them was tested on."""
    pairs: int
    better: int
    """Pairs in which the value reaches more than the reference."""


@dataclass(frozen=True)
class Effect:
    """One swept key and one feature."""

    key: str
    feature: str
    values: list[str]
    mean: list[float | None]
    """Of all jobs with each value."""
    series: list[list[float | None]]
    """For jobs that are equal in all other keys, what is reached with each value."""
    differences: list[Difference]
    """Every value against the first."""


def effects(keys: Sequence[str], points: dict[str, list[Point]]) -> list[Effect]:
    """For each feature and each swept key that has several values among its finished jobs.

    points: by feature; accuracies on test of the heads that are best on validation.
    """
    every = []
    for feature, of_feature in points.items():
        for place, key in enumerate(keys):
            values = in_order(settings[place] for settings, _ in of_feature)
            if len(values) > 1:
                every.append(_effect(key, feature, place, values, of_feature))
    return every


def _effect(
    key: str, feature: str, place: int, values: list[str], points: Sequence[Point]
) -> Effect:
    rows: dict[tuple[str, ...], dict[str, float]] = {}
    for settings, reached in points:
        others = settings[:place] + settings[place + 1 :]
        rows.setdefault(others, {})[settings[place]] = reached
    table = np.array(
        [[row.get(value, math.nan) for value in values] for row in rows.values()]
    )  # (settings of the other keys, values)
    known = ~np.isnan(table)
    counts = known.sum(axis=0)
    sums = np.where(known, table, 0.0).sum(axis=0)
    drawn = table[known.sum(axis=1) > 1][:SERIES]
    return Effect(
        key=key,
        feature=feature,
        values=values,
        mean=[float(s / n) if n else None for s, n in zip(sums, counts, strict=True)],
        series=[[None if math.isnan(x) else float(x) for x in row] for row in drawn],
        differences=[
            difference
            for column in range(1, len(values))
            if (difference := _difference(values, table, column)) is not None
        ],
    )


def _difference(values: Sequence[str], table: np.ndarray, column: int) -> Difference | None:
    gains = table[:, column] - table[:, 0]
    gains = gains[~np.isnan(gains)]
    if not len(gains):
        return None
    mean, low, high = float(gains.mean()), None, None
    if len(gains) >= FEW:
        error = float(gains.std(ddof=1)) / math.sqrt(len(gains))
        half = float(t.ppf((1 + CONFIDENCE) / 2, len(gains) - 1)) * error
        low, high = mean - half, mean + half
    better = int((gains > 0).sum())
    return Difference(values[column], values[0], mean, low, high, len(gains), better)
