"""A quantity of one feature: its row of the vocabulary, with its anchor settled."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from probes.results.record import MetricRecord
from probes.results.vocabulary.quantities import QuantityKind, quantity_kind


@dataclass(frozen=True)
class Quantity:
    """One number for each head, and how to read it."""

    name: str
    """Name of the metric or column, or ``difference``."""
    label: str
    lower_is_better: bool
    anchor: float
    """Where a head knows nothing."""
    anchor_label: str
    diverging: bool = False
    """Whether values below the anchor say as much as those above it."""
    about: str = ""
    """What a large value means, shown above its map."""
    of_own_metric: QuantityKind | None = None
    """The row of a metric of the user's own, which the vocabulary lacks."""
    least_span: float = 0.05
    """The least that colours reach from the anchor: noise must look like noise, not like a map."""

    @property
    def kind(self) -> QuantityKind:
        """Its row of the vocabulary."""
        return self.of_own_metric or quantity_kind(self.name)

    @property
    def probability(self) -> bool:
        """Whether it is a p- or q-value, whose scale is fixed."""
        return self.kind.probability


OWN = "own_metrics"
"""Key of ``attrs`` of a results table: rows of the vocabulary by name."""


def describe_metrics(table: pd.DataFrame, metrics: Mapping[str, MetricRecord]) -> pd.DataFrame:
    """The table, which knows from then on how metrics of the user's own are called and read."""
    if metrics:
        kinds = {n: QuantityKind(n, **dataclasses.asdict(row)) for n, row in metrics.items()}
        table.attrs[OWN] = kinds
    return table


DIFFERENCE, EFFECT_DIFFERENCE = "difference", "effect_difference"
"""Names of the quantity of two maps: of accuracies in points, of effects in their own units."""
POINTS = Quantity(
    DIFFERENCE, "difference (points)", False, 0.0, "no difference", diverging=True, least_span=5.0
)
"""Accuracy of one map minus that of another, in points (hundredths)."""
