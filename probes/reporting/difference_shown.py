"""Two maps' difference, printed and drawn."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.text import Text

from probes.reporting.captions import evidence_label
from probes.reporting.difference import Difference, difference_map, profile_table
from probes.reporting.difference_words import averaged, count_of, order_of, subtitle_of, title_of
from probes.reporting.drawing.colours import number
from probes.reporting.terminal import encodable, print_head_map, print_heading
from probes.statistics.compare import DepthProfile

MOST_DEPTHS = 13
"""Rows of a printed profile; deeper models show evenly spaced ones."""


def print_difference(shown: Difference, console: Console) -> None:
    """Map, units that differ, order of heads, and the profile by depth, as far as they exist."""
    title, subtitle = title_of(shown), subtitle_of(shown)
    if shown.comparison.units:
        print_head_map(difference_map(shown), console, title=title, subtitle=subtitle)
        for line in (count_of(shown), order_of(shown)):
            console.print(Text(encodable(line, console)))
    else:
        print_heading(console, title, subtitle)
    several = len(shown.comparison.profiles) > 1
    for stream, profile in shown.comparison.profiles.items():
        what = averaged(shown) + (f" of stream {stream}" if several else "")
        layers = sorted({layer for s, layer, _ in shown.comparison.units if s == stream})
        by = "layer" if layers else "relative depth (0 first layer, 1 last)"
        console.print(Text(f"By {by}, {what}:"))
        of_difference = shown.unit.name or "difference"
        header = f"{'layer' if layers else 'depth':>7}{'first':>8}{'second':>8}{of_difference:>9}"
        console.print(Text(header, style="dim"))
        for row in _spaced(len(profile.depth)):
            place = str(layers[row]) if layers else f"{profile.depth[row]:.2f}"
            console.print(Text(f"{place:>7}{_depth_line(shown, profile, row)}"))


def save_difference(shown: Difference, png: Path) -> list[Path]:
    """Draw the difference map, or the profiles by depth of models of different shape.

    Writes a PNG, and an SVG of the same name.
    """
    # matplotlib takes a second to import, and a printed comparison does not need it.
    from probes.reporting.drawing.depths import draw_depths
    from probes.reporting.drawing.figures import save_figure
    from probes.reporting.drawing.maps import draw_map

    title, parts = title_of(shown), [subtitle_of(shown)]
    if not shown.comparison.units:
        subtitle = " · ".join([*parts, averaged(shown)])
        profiles = {
            stream: profile_table(shown, profile, "difference").assign(
                first=profile.first, second=profile.second
            )
            for stream, profile in shown.comparison.profiles.items()
        }
        unit = shown.unit
        return save_figure(
            lambda: draw_depths(
                profiles, title=title, subtitle=subtitle, of=unit.measured, quantity=unit.quantity
            ),
            png,
        )
    drawn = difference_map(shown)
    parts.append(f"{drawn.passed} of {drawn.tested} {evidence_label(drawn)}")
    subtitle = " · ".join([*parts, order_of(shown)])
    return save_figure(lambda: draw_map(drawn, title=title, subtitle=subtitle), png)


def _spaced(depths: int) -> Iterable[int]:
    """Rows to print, the first and the last among them."""
    return np.unique(np.linspace(0, depths - 1, min(depths, MOST_DEPTHS)).round().astype(int))


def _depth_line(shown: Difference, profile: DepthProfile, row: int) -> str:
    line = shown.unit.line
    return (
        f"{number(profile.first[row]):>8}{number(profile.second[row]):>8}"
        f"{line(profile.difference[row]):>9} [{line(profile.interval.low[row])}, "
        f"{line(profile.interval.high[row])}]"
    )
