"""Confidence intervals by resampling whole groups.

Rows of one document, question or sentence resemble each other, so an interval from resampled rows
is too narrow. Here the group is the unit that is drawn (cluster bootstrap, Davison and Hinkley
1997, section 3.8): the same draws serve all units and metrics, so that differences are paired.
Symbols: ``B`` draws, ``H`` units (heads or layers), ``G`` groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri
from scipy.stats import t as student

from probes.core.errors import UserError
from probes.statistics.group_sums import GroupSums
from probes.statistics.groups import Array

FEW_GROUPS = 20
"""Below this an interval is reported with a caveat."""
CELLS = 4_000_000
"""Numbers that one product of draws and sums may hold (float64: 32 MB)."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval for each unit (head or layer)."""

    low: Array
    """(H,)"""
    high: Array
    """(H,)"""


@dataclass(frozen=True)
class Draws:
    """Bootstrap draws of groups, shared by everything that is compared."""

    multiplicity: npt.NDArray[np.float32]
    """(B, G) how often each group was drawn; every row sums to G."""
    confidence: float = 0.95

    @property
    def groups(self) -> int:
        """G, the number of groups."""
        return int(self.multiplicity.shape[1])

    def interval(self, sums: GroupSums, minus: GroupSums | None = None) -> Interval:
        """Interval of a metric, or of its difference to ``minus`` on the same rows.

        BCa (Efron 1987): quantiles of the draws, corrected for bias and skew, which matters for
        accuracies near 0 or 1, and widened for the number of groups as Hesterberg (2015) does:
        plain quantiles cover too little below some 50 groups. A metric that is the same in every
        group (all rows right) has an interval of length zero.
        """
        units, _, cells = sums.by_unit.shape
        step = max(1, CELLS // (max(len(self.multiplicity), self.groups) * cells))
        slices = [slice(first, first + step) for first in range(0, units, step)]
        intervals = [
            self._interval(sums.of_units(s), None if minus is None else minus.of_units(s))
            for s in slices
        ]
        return Interval(
            np.concatenate([interval.low for interval in intervals]),
            np.concatenate([interval.high for interval in intervals]),
        )

    def _interval(self, sums: GroupSums, minus: GroupSums | None) -> Interval:
        replicates, value = sums.resampled(self.multiplicity), sums.value()  # (B, H), (H,)
        if minus is not None:
            replicates, value = (
                replicates - minus.resampled(self.multiplicity),
                value - minus.value(),
            )
        jackknife = sums.without_each() - (0.0 if minus is None else minus.without_each())
        return quantile_interval(
            replicates, self.confidence, groups=self.groups, value=value, jackknife=jackknife
        )


def draw_groups(
    groups: int,
    draws: int,
    *,
    seed: int,
    confidence: float = 0.95,
) -> Draws:
    """Draw ``groups`` groups with replacement, ``draws`` times.

    Raises:
        UserError: there is a single group, so nothing is known about other groups.
    """
    if groups < 2:
        raise UserError(
            f"evaluation.bootstrap={draws}: the reported rows belong to {groups} group, and an "
            "interval needs at least 2",
            fix="split.source=group to draw the test groups anew, or evaluation.bootstrap=0",
        )
    random = np.random.default_rng(seed)
    counts = random.multinomial(groups, np.full(groups, 1 / groups), size=draws)
    return Draws(counts.astype(np.float32), confidence)


def few_groups(groups: int, group_name: str = "group") -> str | None:
    """The caveat for intervals and tests that rest on few groups; ``None`` for enough groups."""
    if groups >= FEW_GROUPS:
        return None
    return (
        f"only {groups} {group_name}s are in the reported split: intervals and p-values rest on "
        f"{groups} independent units, however many rows there are; below {FEW_GROUPS} they are "
        "rough (a nominal 95% covered about 92% with 6 groups in simulation)"
    )


def quantile_interval(
    replicates: Array,
    confidence: float,
    *,
    groups: int,
    value: Array | None = None,
    jackknife: Array | None = None,
) -> Interval:
    """Interval from draws (B, H): percentile, or BCa where ``jackknife`` (G, H) is given.

    Draws where the metric is undefined (NaN: no row of a class) are left out.

    groups: G, by which the interval is widened.
    value: (H,) of all rows; needed with ``jackknife``, the values without each group.
    """
    ordered = np.sort(replicates, axis=0)  # NaN last
    valid = np.count_nonzero(~np.isnan(ordered), axis=0)  # (H,)
    tail = np.sqrt(groups / (groups - 1)) * student.ppf((1 - confidence) / 2, groups - 1)
    ends = []
    for z in (tail, -tail):
        if jackknife is None:
            level = np.full(ordered.shape[1], ndtr(z))
        else:
            assert value is not None
            level = _bca_level(z, ordered, value, valid, jackknife)
        ends.append(_quantile(ordered, valid, level))
    return Interval(ends[0], ends[1])


def _bca_level(z: float, ordered: Array, value: Array, valid: Array, jackknife: Array) -> Array:
    """The level at which BCa takes the quantile instead of ``ndtr(z)``: (H,)."""
    # Accuracies are discrete: draws equal to the value count half, or the bias is overstated.
    below = (ordered < value).sum(axis=0) + 0.5 * (ordered == value).sum(axis=0)
    bias = ndtri(np.clip(below / np.maximum(valid, 1), 1e-6, 1 - 1e-6))
    deviation = np.nanmean(jackknife, axis=0) - jackknife  # (G, H)
    squares = np.nansum(deviation**2, axis=0)
    acceleration = np.zeros_like(squares)
    varies = squares > 0
    cubes = np.nansum(deviation**3, axis=0)
    acceleration[varies] = cubes[varies] / (6 * squares[varies] ** 1.5)
    shifted = bias + z
    level: Array = ndtr(bias + shifted / (1 - acceleration * shifted))
    return level


def _quantile(ordered: Array, valid: Array, level: Array) -> Array:
    """Linear quantile of each column's first ``valid`` values: (B, H), (H,), (H,) -> (H,)."""
    position = level * (np.maximum(valid, 1) - 1)
    lower = np.floor(position).astype(np.int64)
    upper = np.minimum(lower + 1, np.maximum(valid, 1) - 1)
    heads = np.arange(ordered.shape[1])
    a, b = ordered[lower, heads], ordered[upper, heads]
    quantile: Array = a + (b - a) * (position - lower)
    return quantile
