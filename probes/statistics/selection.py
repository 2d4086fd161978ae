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


def best_on_validation(reported: GroupSums, draws: Draws | None, chosen_on: Array) -> BestHead:
    """The unit that is best by ``chosen_on`` (H,), measured on other rows: unbiased.

    The interval is the chosen unit's own, NaN without draws.

    chosen_on: (H,) values on rows that are not in ``reported`` (validation).
    """
    values, head = reported.value(), int(np.argmax(chosen_on))
    low = high = float("nan")
    if draws is not None:
        interval = draws.interval(reported.of_units(slice(head, head + 1)))
        low, high = float(interval.low[0]), float(interval.high[0])
    naive = int(np.argmax(values))
    return BestHead(
        head,
        float(values[head]),
        low,
        high,
        naive,
        float(values[naive]),
        "chosen on validation, reported on test",
    )


def best_out_of_bag(reported: GroupSums, draws: Draws) -> BestHead:
    """The best unit where all rows were used to choose it (cross-validation).

    Bootstrap bias correction (Tsamardinos, Greasidou and Borboudakis 2018): choose on the groups
    of a draw, measure on the groups left out of it, average over draws. Draws hold 63% of the
    groups, so the choice is made on less than there is: slightly pessimistic, never optimistic.
    The interval is that of the measured values.
    """
    values = reported.value()
    naive = int(np.argmax(values))
    step = max(1, CELLS // reported.by_unit[:, 0].size)
    measured, unselected = [], []
    for first in range(0, len(draws.multiplicity), step):
        drawn = draws.multiplicity[first : first + step]  # (b, G)
        chosen = np.argmax(np.nan_to_num(reported.resampled(drawn), nan=-np.inf), axis=1)
        left_out = reported.resampled((drawn == 0).astype(drawn.dtype))  # (b, H)
        measured.append(left_out[np.arange(len(drawn)), chosen])
        unselected.append(left_out[:, naive])
    outside = np.concatenate(measured)
    # Relative to the naive unit on the same groups: its own average is known without draws.
    optimism = float(np.nanmean(np.concatenate(unselected) - outside))
    tail = (1 - draws.confidence) / 2
    low, high = np.nanquantile(outside, [tail, 1 - tail])
    return BestHead(
        naive,
        float(values[naive]) - max(optimism, 0.0),
        float(low),
        float(high),
        naive,
        float(values[naive]),
        "chosen and measured on different groups, averaged over bootstrap draws",
    )
