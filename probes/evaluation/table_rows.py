"""Rows of the results table: what each is about, and metrics with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from probes.evaluation.baselines import Predictions
from probes.evaluation.scored_rows import ScoredRows
from probes.results.vocabulary.methods import PROBE
from probes.results.vocabulary.sites import is_whole_layer
from probes.statistics.group_sums import GroupSums
from probes.statistics.groups import Array
from probes.statistics.maps import MapEvidence

Cell = str | int | float | None
Row = dict[str, Cell]
"""One row of ``results.csv``, by column; a column that is absent is empty."""


@dataclass(frozen=True)
class Place:
    """What a row is about: a unit of a map, or (without stream, layer and head) the corpus."""

    feature: str
    site: str
    probe: str
    stream: str | None = None
    layer: int | None = None
    head: int | None = None
    """``None`` for whole-layer sites too."""
    method: str = PROBE
    effect: str = ""
    positions: str = ""

    def row(self, split: str, metric: str, value: float, *, n: int, **more: Cell) -> Row:
        """A row with this number; ``n`` counts what it is a mean over, ``more`` are columns."""
        of_effects = {"effect": self.effect, "positions": self.positions}
        return {
            "feature": self.feature,
            "site": self.site,
            "probe": self.probe,
            "stream": self.stream,
            "layer": self.layer,
            "head": self.head,
            "split": split,
            "metric": metric,
            "value": float(value),
            "n": n,
            "method": self.method,
            **{name: value for name, value in of_effects.items() if value},
            **more,
        }


def places_of(evidence: MapEvidence) -> list[Place]:
    """(H,) the place of each unit of a map."""
    whole = is_whole_layer(evidence.site)
    names = (evidence.feature, evidence.site, evidence.probe)
    return [
        Place(
            *names,
            stream,
            layer,
            None if whole else head,
            method=evidence.method,
            effect=evidence.effect,
            positions=evidence.positions,
        )
        for stream, layer, head in evidence.keys
    ]


def value_rows(
    places: Sequence[Place], split: str, metric: str, values: Array, *, n: int
) -> list[Row]:
    """Rows of values (H,) without intervals."""
    return [
        place.row(split, metric, value, n=n) for place, value in zip(places, values, strict=True)
    ]


def metric_rows(
    places: Sequence[Place], predicted: Predictions, scored: ScoredRows, scores: Array | None = None
) -> list[Row]:
    """All metrics on the scored rows: predictions (H, m), scores (H, m) of binary probes."""
    classes = len(scored.task.classes)
    rows = []
    for metric in scored.metrics:
        if metric.suits(classes, scores, scored.labels):
            sums = metric(predicted, scored.labels, scored.groups, classes, scores)
            rows += sums_rows(places, metric.name, sums, scored)
    return rows


def sums_rows(
    places: Sequence[Place],
    metric: str,
    sums: GroupSums,
    scored: ScoredRows,
    minus: GroupSums | None = None,
) -> list[Row]:
    """Rows of one metric (or of a paired difference) with its interval."""
    values = sums.value() - (0.0 if minus is None else minus.value())
    n = len(scored.rows)
    if scored.draws is None:
        return value_rows(places, "test", metric, values, n=n)
    interval = scored.draws.interval(sums, minus)
    return [
        place.row("test", metric, value, n=n, ci_low=float(low), ci_high=float(high))
        for place, value, low, high in zip(places, values, interval.low, interval.high, strict=True)
    ]
