"""What a head reaches above other probes of the same rows, with paired intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from probes.evaluation.chunk_rows import Reported, sum_rows
from probes.statistics.maps import MapEvidence

SAME_LAYER = ("all_heads", "residual")
"""Sites that a head is compared with in its own layer."""
SAME_UNIT = ("random_init", "erased")
"""Probes of the same head: of the model with fresh weights, and without the erased feature."""


def paired_gains(
    own: MapEvidence,
    others: Mapping[tuple[str, str], MapEvidence],
    places: Sequence[Mapping[str, Any]],
    reported: Reported,
) -> list[dict[str, Any]]:
    """Rows ``gain_all_heads``, ``gain_residual``, ``gain_random_init``, ``gain_erased`` of heads.

    others: the other maps of the feature by site and probe. places: (H,) what a row of each unit
    starts with. The same draws of groups serve both sides of a difference, so that what makes a
    document hard for both cancels out; a head without a partner has no row.
    """
    rows: list[dict[str, Any]] = []
    sums = own.sums()
    for (site, probe), other in others.items():
        whole = site in SAME_LAYER and probe == own.probe
        if not whole and not (site == own.site and probe in SAME_UNIT):
            continue
        index = {key: unit for unit, key in enumerate(other.keys)}
        partners = [(s, layer, 0 if whole else head) for s, layer, head in own.keys]
        kept = [unit for unit, key in enumerate(partners) if key in index]
        if not kept:
            continue
        theirs = other.sums()
        rows += sum_rows(
            [dict(places[unit]) for unit in kept],
            f"gain_{site if whole else probe}",
            sums.of_units(np.array(kept)),
            reported,
            minus=theirs.of_units(np.array([index[partners[unit]] for unit in kept])),
        )
    return rows
