"""A quantity of one feature: its row of the vocabulary, with its anchor settled."""

from __future__ import annotations

from dataclasses import dataclass

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
    least_span: float = 0.05
    """The least that colours reach from the anchor: noise must look like noise, not like a map."""

    @property
    def kind(self) -> QuantityKind:
        """Its row of the vocabulary."""
        return quantity_kind(self.name)

    @property
    def probability(self) -> bool:
        """Whether it is a p- or q-value, whose scale is fixed."""
        return self.kind.probability


DIFFERENCE = "difference"
"""Name of the quantity of two maps."""
POINTS = Quantity(
    DIFFERENCE, "difference (points)", False, 0.0, "no difference", diverging=True, least_span=5.0
)
"""Accuracy of one map minus that of another, in points (hundredths)."""
