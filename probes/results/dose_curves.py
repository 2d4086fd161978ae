"""Dose-response curves, read back from a results table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from probes.results.table import distinct, pick
from probes.results.vocabulary import COMPARATORS
from probes.results.vocabulary.doses import EQUAL_PERPLEXITY, LOG_ODDS, PERPLEXITY
from probes.results.vocabulary.methods import probe_label
from probes.results.vocabulary.sites import HEAD_SETS

Array = npt.NDArray[np.float64]
Estimated = tuple[float, float, float]
"""A value and both ends of its interval, NaN without one."""
AFFORDABLE = 1.1
"""Times the perplexity of the model as it is: a push up to this leaves the model speaking."""


@dataclass(frozen=True)
class Curve:
    """What one set of heads does under one kind of push."""

    variant: str
    heads: int
    metric: str
    strengths: Array
    """(S,) ascending."""
    values: Array
    """(S,)"""
    low: Array
    high: Array
    """(S,) of the interval; NaN without one."""

    @property
    def is_control(self) -> bool:
        """Whether it is what the direction is compared with."""
        return self.variant in COMPARATORS

    @property
    def label(self) -> str:
        """The kind of push in words."""
        return probe_label(self.variant, "steering")

    def at(self, strength: float) -> Estimated:
        """Value and interval at one of the strengths."""
        (place,) = np.flatnonzero(self.strengths == strength)[:1]
        return float(self.values[place]), float(self.low[place]), float(self.high[place])


@dataclass(frozen=True)
class DoseCurves:
    """All curves of a feature."""

    feature: str
    curves: tuple[Curve, ...]

    @classmethod
    def of(cls, table: pd.DataFrame, feature: str) -> DoseCurves:
        """The feature's rows of steering; none where it was not steered."""
        rows = pick(table, feature=feature, method="steering", site=HEAD_SETS)
        if rows.empty:
            return cls(feature, ())
        curves = []
        keys = rows[["probe", "heads_steered", "metric"]].drop_duplicates()
        for variant, heads, metric in keys.itertuples(index=False, name=None):
            of = pick(rows, probe=variant, heads_steered=heads, metric=metric)
            ordered = of.sort_values("strength")
            numbers = [
                ordered[name].to_numpy(dtype=np.float64)
                for name in ("strength", "value", "ci_low", "ci_high")
            ]
            curves.append(Curve(str(variant), int(heads), str(metric), *numbers))
        return cls(feature, tuple(curves))

    @property
    def metrics(self) -> list[str]:
        """What is drawn: the measure, the log-odds of the last layer's probe, the perplexity."""
        names = list(dict.fromkeys(curve.metric for curve in self.curves))
        return [name for name in names if not name.startswith("gain_")]

    @property
    def sizes(self) -> list[int]:
        """How many heads were pushed together."""
        return sorted({curve.heads for curve in self.curves})

    @property
    def controls(self) -> list[str]:
        """Names of what the direction is compared with."""
        return [name for name in COMPARATORS if any(c.variant == name for c in self.curves)]

    def curve(self, metric: str, heads: int, variant: str | None = None) -> Curve | None:
        """One curve; ``variant`` None: that of the direction."""
        for curve in self.curves:
            wanted = not curve.is_control if variant is None else curve.variant == variant
            if (curve.metric, curve.heads) == (metric, heads) and wanted:
                return curve
        return None

    def group(self, metric: str, heads: int) -> list[Curve]:
        """The curves of one panel, controls first, so that the direction is drawn over them."""
        names = [*self.controls, None]
        found = [self.curve(metric, heads, name) for name in names]
        return [curve for curve in found if curve is not None]

    def affordable_strength(self, heads: int) -> float | None:
        """The largest strength towards the class at which neutral text is predicted about as well.

        The smallest one where all cost more; the largest where perplexity was not measured; None
        where nothing was pushed towards the class.
        """
        main = next((c for m in self.metrics if (c := self.curve(m, heads)) is not None), None)
        positive = [] if main is None else [float(s) for s in main.strengths if s > 0]
        if not positive:
            return None
        perplexity = self.curve(PERPLEXITY, heads)
        if perplexity is None:
            return max(positive)
        clean = perplexity.at(0.0)[0]
        return max(
            (s for s in positive if perplexity.at(s)[0] <= AFFORDABLE * clean),
            default=min(positive),
        )

    def beyond(self, control: str, heads: int, strength: float) -> Estimated | None:
        """What the direction changes more than a control, at equal perplexity where that is known,
        else at the same strength."""
        for suffix in (EQUAL_PERPLEXITY, ""):
            curve = self.curve(f"{COMPARATORS[control].gain}{suffix}", heads)
            if curve is not None:
                return curve.at(strength)
        return None


def steered_features(table: pd.DataFrame) -> list[str]:
    """Features with dose-response curves, in the order of the table."""
    return distinct(pick(table, method="steering", site=HEAD_SETS), "feature")


def curve_label(metric: str, towards: str) -> str:
    """What the vertical axis of a panel shows."""
    if metric == PERPLEXITY:
        return "perplexity of neutral text"
    if metric == LOG_ODDS:
        return f"change of the log-odds of '{towards}'"
    return f"change of {metric.replace('_', ' ')}"
