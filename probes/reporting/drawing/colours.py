"""Colours of a map: one ramp for values better than the anchor, another for worse ones.

Differences have no worse side: their second ramp is as dark as the first at every strength.
Blue against orange stays apart under every common colour blindness, and lightness alone orders the
blue ramp, so a map survives grey printing. Both ramps are interpolated in OKLab, where equal steps
look equal (Ottosson 2020).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from probes.reporting.head_map import HeadMap
from probes.results.quantities import DIFFERENCE
from probes.results.vocabulary import COMPARATORS, quantity_kind
from probes.results.vocabulary.comparators import Compared

Colours = npt.NDArray[np.float64]
Lines = Mapping[str, tuple[str, str]]
"""Colour and label of columns of a profile, in the order in which they are drawn."""

STEPS = 65
BETTER_STOPS = ("#f6f5ee", "#cfe6e7", "#8fc8d8", "#4b9cc6", "#2a6bab", "#273f8a", "#1c1750")
WORSE_STOPS = ("#f8ecdc", "#f1c795", "#d98f3f")
LESS_STOPS = ("#faf4ec", "#f8dcb9", "#eab171", "#cf7a18", "#a04f00", "#723007", "#3e1202")
"""Of the same OKLab lightness as ``BETTER_STOPS``, stop by stop."""
INK, FAINT, RULE = "#1d2230", "#6b7280", "#c9cdd6"
LARGEST = "largest head"
"""The line of the best heads, where the best is the largest of either sign."""
OWN_LINES: Lines = {"best": ("#1f5fa8", "best head"), "mean": ("#7fb2d6", "mean head")}


def profile_lines(*, signed: bool = False) -> Lines:
    """Colour and label of what a profile by layer may show, in the order in which it is drawn.

    signed: of a map of effects.

    >>> list(profile_lines())[:3]
    ['best', 'mean', 'all_heads']
    """
    shown = (r for r in COMPARATORS.values() if r.colour and r.compared is not Compared.SAME_SET)
    rows = sorted(shown, key=lambda row: row.drawn)
    own = {**OWN_LINES, "best": (OWN_LINES["best"][0], LARGEST)} if signed else OWN_LINES
    return {**own, **{row.name: (row.colour, row.label) for row in rows}}


@dataclass(frozen=True)
class Scale:
    """From a value to a colour."""

    anchor: float
    best: float
    """Value of the darkest blue; on the good side of the anchor."""
    logarithmic: bool = False
    """p- and q-values: equal steps are equal ratios, down to a thousandth."""
    diverging: bool = False
    """Differences: as strong below the anchor as above."""

    def position(self, values: Any) -> Colours:
        """0 at the anchor, 1 at ``best``, negative where worse than the anchor; clipped."""
        values = np.asarray(values, dtype=float)
        low, position = -1.0, (values - self.anchor) / (self.best - self.anchor)
        if self.logarithmic:
            low, position = 0.0, np.log10(np.maximum(values, 1e-9)) / -3.0
        clipped: Colours = np.clip(position, low, 1.0)
        return clipped

    def colours(self, values: Any) -> Colours:
        """RGB of each value, ``(..., 3)``; NaN becomes the anchor's."""
        position = np.nan_to_num(self.position(values))
        index = np.rint(np.abs(position) * (STEPS - 1)).astype(int)
        below = LESS if self.diverging else WORSE
        colours: Colours = np.where((position < 0)[..., None], below[index], BETTER[index])
        return colours


def scale_of(drawn: HeadMap) -> Scale:
    """The scale of one map, from its anchor to its best head.

    A scale never spans less than the quantity's ``least_span``. Where values diverge it spans as
    much on both sides of the anchor.
    """
    q = drawn.quantity
    if q.probability:
        return Scale(1.0, 0.0, logarithmic=True)
    if q.diverging:
        return Scale(q.anchor, max(-drawn.low, drawn.high, q.least_span), diverging=True)
    if q.lower_is_better:
        # Without a known anchor (codelength), the worst head stands for knowing nothing.
        anchor = q.anchor if q.anchor_label else drawn.high
        return Scale(anchor, min(drawn.low, anchor - max(1e-6, 0.05 * abs(anchor))))
    return Scale(q.anchor, max(drawn.high, q.anchor + q.least_span))


def hexadecimal(colour: Colours) -> str:
    """``#rrggbb`` of one RGB triple."""
    return "#" + "".join(f"{round(255 * float(c)):02x}" for c in colour)


def number(value: float, name: str = "") -> str:
    """A value as maps write it: shares as ``.53``, differences as ``+5``, others in three digits.

    >>> number(0.534), number(1.0), number(-0.021), number(5312.0)
    ('.53', '1.0', '-.02', '5312')
    >>> number(4.6, DIFFERENCE), number(-12.2, DIFFERENCE), number(-0.3, DIFFERENCE)
    ('+5', '-12', '0')
    """
    if math.isnan(value):
        return ""
    if name == DIFFERENCE:
        return f"{value:+.0f}" if abs(value) > 0.5 else "0"
    if quantity_kind(name).probability and value < 0.1:
        return f"{value:.3f}"[1:] if value >= 0.001 else "<.001"
    if abs(value) >= 100:
        return f"{value:.0f}"
    if value < -9.95:  # one character less for the sign
        return f"{value:.0f}"
    if abs(value) >= 0.995:
        return f"{value:.1f}"
    text = f"{value:.2f}".replace("0.", ".", 1)
    return text.replace("-.00", ".00")


def _ramp(stops: tuple[str, ...]) -> Colours:
    """``STEPS`` colours through the stops, evenly spaced in OKLab: (STEPS, 3)."""
    rgb = np.array([[int(stop[i : i + 2], 16) / 255 for i in (1, 3, 5)] for stop in stops])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    lab = np.cbrt(linear @ TO_LMS.T) @ TO_LAB.T
    at, known = np.linspace(0, 1, STEPS), np.linspace(0, 1, len(stops))
    lab = np.stack([np.interp(at, known, lab[:, axis]) for axis in range(3)], axis=1)
    linear = (lab @ np.linalg.inv(TO_LAB).T) ** 3 @ np.linalg.inv(TO_LMS).T
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
BETTER, WORSE, LESS = _ramp(BETTER_STOPS), _ramp(WORSE_STOPS), _ramp(LESS_STOPS)
