"""Two models of different shape: profiles by relative depth, and their difference."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from probes.reporting.drawing.colours import INK, Lines
from probes.reporting.drawing.figures import (
    GAP,
    LEFT,
    LEGEND_WIDTH,
    RIGHT,
    UNDER,
    Heading,
    axes_at,
    head_room,
    new_figure,
    title_stream,
)
from probes.reporting.drawing.profiles import draw_legend, draw_profile
from probes.results.quantities import POINTS, Quantity

WIDTH = 2.6
"""Of each of the two drawings, in inches."""
BOTH: Lines = {"first": ("#1f5fa8", "first"), "second": ("#a04f00", "second")}
"""The blue and the orange of differences above and below 0."""
DIFFERENCE: Lines = {"difference": (INK, "difference")}


def draw_depths(
    profiles: dict[str, pd.DataFrame],
    *,
    title: str,
    subtitle: str,
    of: str = "accuracy",
    quantity: Quantity = POINTS,
) -> Figure:
    """Left both maps' means, right their difference with its interval; a row for each stream.

    ``profiles`` have relative depth as index, from 0 (at the bottom) to 1, and columns ``first``,
    ``second``, and in the unit of ``quantity`` ``difference``, ``difference_low`` and
    ``difference_high``. of: what the maps hold, in words.
    """
    heights = [min(4.0, max(1.2, 0.17 * len(profile))) for profile in profiles.values()]
    room = head_room(len(profiles))
    width = LEFT + 2 * WIDTH + GAP + LEGEND_WIDTH + RIGHT
    heading = Heading.wrapped(title, subtitle, width)
    height = heading.height + sum(heights) + len(heights) * (UNDER + room)
    figure = new_figure(width, height, heading)
    top = height - heading.height
    for (stream, profile), tall in zip(profiles.items(), heights, strict=True):
        bottom = top - room - tall
        left = axes_at(figure, (LEFT, bottom, WIDTH, tall))
        draw_profile(left, profile, Quantity("value", of, False, 0.0, ""), BOTH)
        if len(profile) > 1:
            left.set_yticks(np.linspace(0, len(profile) - 1, 3), ["0", ".5", "1"])
        left.tick_params(axis="y", length=0, labelsize=7)
        left.set_ylabel("relative depth", size=8)
        if room:
            title_stream(left, stream)
        right = axes_at(figure, (LEFT + WIDTH + GAP, bottom, WIDTH, tall))
        draw_profile(right, profile, quantity, DIFFERENCE)
        draw_legend(right, left, right)
        top = bottom - UNDER
    return figure
