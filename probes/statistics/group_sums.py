"""Numbers of many units as sums over groups, from which every resampling of groups is computed.

A unit is a head, or a layer at whole-layer sites. A number that is a function of sums over rows can
be resampled by whole groups with one matrix product: the sums of a bootstrap draw are the draw's
multiplicities times the sums of the groups. Metrics of probes, effects of interventions and scores
of attention patterns all come in this form. Symbols: ``H`` units, ``n`` rows, ``G`` groups.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from probes.statistics.groups import Array, Groups

Finish = Callable[[Array, Array], Array]
Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class GroupSums:
    """One number of H units, as sums over G groups and the function that finishes them."""

    metric: str
    by_unit: Floats
    """(H, G, K) sums that differ between units (correct rows, true positives by class, ...)."""
    shared: Floats
    """(G, M) sums that are the same for all units (rows, rows by class)."""
    finish: Finish
    """(..., H, K) and (..., 1, M) totals -> (..., H) values; NaN where the number is undefined."""

    @property
    def groups(self) -> int:
        """G, the number of groups."""
        return len(self.shared)

    def value(self) -> Array:
        """The number itself: (H,)."""
        total = self.by_unit.sum(axis=1, dtype=np.float64)  # (H, K)
        return self._finish(total, self.shared.sum(axis=0, dtype=np.float64))

    def resampled(self, multiplicity: Floats) -> Array:
        """The number where group g counts ``multiplicity[b, g]`` times: (B, G) -> (B, H)."""
        total = np.tensordot(multiplicity, self.by_unit, axes=(1, 1))  # (B, H, K)
        # Counts are exact in float32, their ratios are not: equal draws must stay equal.
        return self._finish(total.astype(np.float64), multiplicity @ self.shared)

    def without_each(self) -> Array:
        """The number without group g, for each g (the jackknife): (G, H)."""
        total = self.by_unit.sum(axis=1, dtype=np.float64, keepdims=True) - self.by_unit
        shared = self.shared.sum(axis=0, dtype=np.float64) - self.shared
        return self._finish(total.swapaxes(0, 1), shared)  # (G, H, K), (G, M)

    def of_units(self, units: npt.NDArray[np.integer] | slice) -> GroupSums:
        """The same number of some of the units, by position."""
        return replace(self, by_unit=self.by_unit[units])

    def _finish(self, by_unit: Array, shared: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.finish(by_unit, shared[..., None, :])


def mean_sums(metric: str, values: npt.NDArray[np.generic], groups: Groups) -> GroupSums:
    """Mean over rows of one value for each unit and row: right or wrong, an effect, a score.

    values: (H, n), boolean or float. A row that is NaN for a unit is left out of that unit's mean
    (an attention head without a visible target in that row).
    """
    if np.issubdtype(values.dtype, np.floating) and np.isnan(values).any():
        present = ~np.isnan(values)
        total, rows = groups.sum(np.where(present, values, 0.0)), groups.sum(present)
        return GroupSums(
            metric,
            np.stack([total, rows], axis=-1),  # (H, G, 2)
            np.zeros((len(groups), 0)),
            lambda sums, _: sums[..., 0] / sums[..., 1],
        )
    return share_sums(metric, groups.sum(values), groups.sizes)


def share_sums(
    metric: str, totals: npt.NDArray[np.number], rows: npt.NDArray[np.number]
) -> GroupSums:
    """Totals (H, G) of each group over a denominator (G,) that all units share.

    The denominator is the number of rows for a mean. For a ratio of means it is the sum of a
    reference over the group's rows (the effect of the whole contrast, for normalised patching):
    numerator and denominator are then resampled together.
    """
    return GroupSums(
        metric,
        totals[..., None].astype(np.float64),
        rows[:, None].astype(np.float64),
        lambda total, n: total[..., 0] / n[..., 0],
    )
