"""In what the difference of two maps is shown: points of accuracy, or the units of effects."""

from __future__ import annotations

import math
from dataclasses import dataclass

from probes.results.feature_table import SIGNED_SPAN, FeatureTable
from probes.results.quantities import EFFECT_DIFFERENCE, POINTS, Quantity
from probes.results.vocabulary.methods import METHODS, PROBE
from probes.results.vocabulary.sites import of_units


@dataclass(frozen=True)
class DifferenceUnit:
    """What one number of a difference is."""

    quantity: Quantity
    """Of the map."""
    measured: str
    """What both maps hold, in words."""
    name: str = ""
    """Of the unit; empty: the measure has none."""
    factor: float = 1.0
    """From the numbers in files to those that are shown."""
    above: str = ""
    """What values above 0 of both maps mean, in a few words."""

    def line(self, value: float) -> str:
        """A difference beside a profile.

        >>> IN_POINTS.line(0.012), IN_POINTS.line(math.nan)
        ('+1.2', '')
        """
        if math.isnan(value):
            return ""
        return f"{self.factor * value:+.1f}" if self.quantity is POINTS else f"{value:+.3g}"


IN_POINTS = DifferenceUnit(POINTS, "accuracy", "points", 100.0)
"""Of probes."""


def difference_unit(own: FeatureTable) -> DifferenceUnit:
    """That of two maps such as this one."""
    if own.method == PROBE or own.method not in METHODS:
        return IN_POINTS
    method, measure = METHODS[own.method], own.kind(own.metric)
    measured = method.measure.format(measure.label)
    unit = f" ({measure.unit})" if measure.unit else ""
    quantity = Quantity(
        EFFECT_DIFFERENCE,
        f"difference of the {measured}{unit}",
        lower_is_better=False,
        anchor=0.0,
        anchor_label="no difference",
        diverging=True,
        about=of_units(" ".join(filter(None, (method.oriented, measure.description))), own.site),
        least_span=SIGNED_SPAN,
    )
    return DifferenceUnit(quantity, measured, measure.unit, above=of_units(method.above, own.site))
