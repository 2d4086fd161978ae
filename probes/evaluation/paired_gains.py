"""Accuracy differences between a head and other probes on the same rows, with paired intervals."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from probes.evaluation.scored_rows import ScoredRows
from probes.evaluation.table_rows import Row, places_of, sums_rows
from probes.statistics.maps import MapEvidence

SAME_LAYER = ("all_heads", "residual")
"""Sites that a head is compared with in its own layer."""
SAME_UNIT = ("random_init", "erased")
"""Probes of the same head: of the model with fresh weights, and without the erased feature."""


def paired_gains(own: MapEvidence, others: Iterable[MapEvidence], scored: ScoredRows) -> list[Row]:
    """Rows ``gain_all_heads``, ``gain_residual``, ``gain_random_init``, ``gain_erased`` of heads.

    The same draws of groups serve both sides of a difference, so that what makes a document hard
    for both cancels out; a head without a partner has no row.

    own: the map of the heads. others: the other maps of the feature.
    """
    rows: list[Row] = []
    sums, places = own.sums(), places_of(own)
    for other in others:
        same_layer = other.site in SAME_LAYER and other.probe == own.probe
        if not same_layer and not (other.site == own.site and other.probe in SAME_UNIT):
            continue
        index = {unit: position for position, unit in enumerate(other.keys)}
        partners = [(s, layer, 0 if same_layer else head) for s, layer, head in own.keys]
        kept = np.array([i for i, unit in enumerate(partners) if unit in index], dtype=np.int64)
        if not len(kept):
            continue
        rows += sums_rows(
            [places[i] for i in kept],
            f"gain_{other.site if same_layer else other.probe}",
            sums.of_units(kept),
            scored,
            minus=other.sums().of_units(np.array([index[partners[i]] for i in kept])),
        )
    return rows
