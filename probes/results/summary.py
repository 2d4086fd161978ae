"""The best head of a feature, and what it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from probes.results.feature_table import FeatureTable
from probes.results.table import ACCURACY
from probes.results.vocabulary import COMPARATORS
from probes.results.vocabulary.comparators import Comparator, Compared

METRIC = ACCURACY
"""Of probes; other methods have their own (``FeatureTable.metric``)."""


@dataclass(frozen=True)
class Estimate:
    """A number with its interval, if it has one."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, row: Any, column: str = "value") -> Estimate:
        """From a row of a table."""
        return cls(optional(row[column]), optional(row["ci_low"]), optional(row["ci_high"]))


@dataclass(frozen=True)
class Baseline:
    """One thing that the best head is compared with."""

    comparator: Comparator
    estimate: Estimate
    gain: float | None
    """What the best head reaches above it."""


def best_estimate(own: FeatureTable) -> Estimate:
    """What the head (or layer) that is best on validation reaches on test."""
    if own.values(own.metric, split="validation")["value"].isna().all():
        return Estimate(None)
    return Estimate.of(own.top(1).iloc[0], "test")


def baselines(own: FeatureTable) -> list[Baseline]:
    """What the best head of a feature is compared with, simplest first.

    The layer of a whole-layer probe, and the head of another model, are chosen on validation as
    the head is.
    """
    best = best_estimate(own)
    listed = []
    for row in COMPARATORS.values():
        other = own.of_comparator(row)
        if other is None:
            continue
        estimate = _corpus(other) if row.compared is Compared.SAME_ROWS else best_estimate(other)
        if estimate.value is not None:
            listed.append(Baseline(row, estimate, _gain(own, best.value, estimate.value)))
    return listed


def _gain(own: FeatureTable, best: float | None, baseline: float) -> float | None:
    """What the best reaches above a baseline; of effects, how much larger it is."""
    if best is None:
        return None
    return abs(best) - abs(baseline) if own.signed else best - baseline


def optional(value: Any) -> float | None:
    """A number of a table, None where the cell is empty."""
    return None if pd.isna(value) else float(value)


def _corpus(own: FeatureTable) -> Estimate:
    rows = own.values(own.metric)
    return Estimate.of(rows.iloc[0]) if len(rows) else Estimate(None)
