"""Accuracy differences between a head and other probes on the same rows, with paired intervals."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from probes.evaluation.scored_rows import ScoredRows
from probes.evaluation.table_rows import Row, places_of, sums_rows
from probes.results.vocabulary.comparators import COMPARATORS, Comparator, Compared
from probes.results.vocabulary.sites import whole_layer_stream
from probes.statistics.maps import MapEvidence


def paired_gains(own: MapEvidence, others: Iterable[MapEvidence], scored: ScoredRows) -> list[Row]:
    """Rows of the gains over comparators of the same unit or layer (``gain_residual``, ...).

    The same draws of groups serve both sides of a difference, so that what makes a document hard
    for both cancels out; a head without a partner has no row.

    own: the map of the heads. others: the other maps of the feature.
    """
    rows: list[Row] = []
    sums, places = own.sums(), places_of(own)
    for other in others:
        comparator = _comparator(own, other)
        if comparator is None:
            continue
        index = {unit: position for position, unit in enumerate(other.keys)}
        partners = list(own.keys)
        if comparator.compared is Compared.SAME_LAYER:
            partners = _layers(own, set(other.streams))
        kept = np.array([i for i, unit in enumerate(partners) if unit in index], dtype=np.int64)
        if not len(kept):
            continue
        rows += sums_rows(
            [places[i] for i in kept],
            comparator.gain,
            sums.of_units(kept),
            scored,
            minus=other.sums().of_units(np.array([index[partners[i]] for i in kept])),
        )
    return rows


def _layers(own: MapEvidence, streams: set[str]) -> list[tuple[str, int, int]]:
    """(H,) the layer of each head; at sites that the cross stream lacks, that of the decoder."""
    return [
        (stream if stream in streams else whole_layer_stream(stream), layer, 0)
        for stream, layer, _ in own.keys
    ]


def _comparator(own: MapEvidence, other: MapEvidence) -> Comparator | None:
    """What the other map is to the heads: probes of their layers, or other probes of themselves."""
    if other.probe == own.probe:
        comparator = COMPARATORS.get(other.site)
        compared = Compared.SAME_LAYER
    else:
        comparator = COMPARATORS.get(other.probe) if other.site == own.site else None
        compared = Compared.SAME_UNIT
    return comparator if comparator is not None and comparator.compared is compared else None
