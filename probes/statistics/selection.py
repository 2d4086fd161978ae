"""The best unit of a map and its value, corrected for the selection (winner's curse)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from probes.statistics.bootstrap import CELLS, Draws
from probes.statistics.group_sums import GroupSums
from probes.statistics.groups import Array


@dataclass(frozen=True)
class BestHead:
    """The best unit (head or layer) of a map: the naive value, and one freed from the selection."""

    head: int
    """Position among the units given."""
    value: float
    """Estimate freed from the selection."""
    low: float
    high: float
    naive_head: int
    """The unit that is best on the reported rows ..."""
    naive: float
    """... and its value there, which is too high on average."""
    method: str


def best_on_validation(
    reported: GroupSums, draws: Draws | None, chosen_on: Array, *, by_size: bool = False
) -> BestHead:
    """The unit that is best by ``chosen_on`` (H,), measured on other rows: unbiased.

    The interval is the chosen unit's own, NaN without draws.

    chosen_on: (H,) values on rows that are not in ``reported`` (validation); NaN is never chosen.
    by_size: whether the best is the largest in absolute value (effects), not the highest.
    """
    values, head = reported.value(), _best(chosen_on, by_size)
    low = high = float("nan")
    if draws is not None:
        interval = draws.interval(reported.of_units(slice(head, head + 1)))
        low, high = float(interval.low[0]), float(interval.high[0])
    naive = _best(values, by_size)
    return BestHead(
        head,
        float(values[head]),
        low,
        high,
        naive,
        float(values[naive]),
        "chosen on validation, reported on test",
    )


def best_out_of_bag(reported: GroupSums, draws: Draws, *, by_size: bool = False) -> BestHead:
    """The best unit where all rows were used to choose it (cross-validation).

    Bootstrap bias correction (Tsamardinos, Greasidou and Borboudakis 2018): choose on the groups
    of a draw, measure on the groups left out of it, average over draws. Draws hold 63% of the
    groups, so the choice is made on less than there is: slightly pessimistic, never optimistic.
    The interval is that of the measured values.

    by_size: whether the best is the largest in absolute value. What is measured then counts with
        the sign that the chosen unit had, so that a change of sign counts against it.
    """
    values = reported.value()
    naive = _best(values, by_size)
    naive_sign = -1.0 if by_size and values[naive] < 0 else 1.0
    step = max(1, CELLS // reported.by_unit[:, 0].size)
    measured, unselected = [], []
    for first in range(0, len(draws.multiplicity), step):
        drawn = draws.multiplicity[first : first + step]  # (b, G)
        inside, each = reported.resampled(drawn), np.arange(len(drawn))  # (b, H), (b,)
        by = np.abs(inside) if by_size else inside
        chosen = np.argmax(np.nan_to_num(by, nan=-np.inf), axis=1)
        sign = np.where(inside[each, chosen] < 0, -1.0, 1.0) if by_size else 1.0
        left_out = reported.resampled((drawn == 0).astype(drawn.dtype))  # (b, H)
        measured.append(sign * left_out[each, chosen])
        unselected.append(naive_sign * left_out[:, naive])
    outside = np.concatenate(measured)
    # Relative to the naive unit on the same groups: its own average is known without draws.
    optimism = float(np.nanmean(np.concatenate(unselected) - outside))
    tail = (1 - draws.confidence) / 2
    low, high = sorted(naive_sign * np.nanquantile(outside, [tail, 1 - tail]))
    return BestHead(
        naive,
        float(values[naive]) - naive_sign * max(optimism, 0.0),
        float(low),
        float(high),
        naive,
        float(values[naive]),
        "chosen and measured on different groups, averaged over bootstrap draws",
    )


def _best(values: Array, by_size: bool) -> int:
    """The unit of the highest (or largest) value (H,); the first of equal ones."""
    by = np.abs(values) if by_size else values
    return int(np.argmax(np.nan_to_num(by, nan=-np.inf)))
