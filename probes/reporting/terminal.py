"""The map of a feature in the terminal: numbers where they fit, shaded blocks where they do not.

Colours appear only on a terminal that shows them; in a file or a pipe the numbers and shades say
the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.style import Style
from rich.text import Text

from probes.core.shown import shown
from probes.reporting.captions import chosen_label, map_subtitle, map_title
from probes.reporting.drawing.colours import Scale, hexadecimal, number, scale_of
from probes.reporting.head_map import HeadMap, Panel, head_map
from probes.results.feature_table import FeatureTable
from probes.results.method_maps import feature_maps
from probes.results.record import RunRecord
from probes.results.vocabulary import COMPARATORS

SHADES = "·░▒▓█"
PLAIN_SHADES = "-.:*#"
"""Not significant, then four strengths; the second for terminals that are not UTF-8."""
BELOW = "1234"
"""Strengths of negative differences."""
LABEL, NUMBER, SIDE = 4, 5, 5
"""Characters of a layer's label, of a head's number (at least), of a number beside the map."""


def sides() -> dict[str, tuple[str, str]]:
    """Columns of numbers beside a map: header and meaning, the last to give way comes first."""
    rows = sorted((r for r in COMPARATORS.values() if r.abbreviation), key=lambda row: row.drawn)
    compared = {row.name: (row.abbreviation, row.legend) for row in rows}
    return {"best": ("best", "best head"), **compared}


def print_map(
    table: pd.DataFrame,
    feature: str,
    console: Console,
    *,
    record: RunRecord | None = None,
    metric: str | None = None,
    level: float = 0.05,
) -> None:
    """Print one feature's map, never wider than the console.

    A star marks the heads that are best on validation; parentheses or a dot mean not significant.
    Layer 0 is at the bottom.
    """
    print_table(FeatureTable.of(table, feature), console, record=record, metric=metric, level=level)


def print_maps(
    table: pd.DataFrame,
    feature: str,
    console: Console,
    *,
    record: RunRecord | None = None,
    level: float = 0.05,
) -> None:
    """Print the feature's map by each method, the run's own first."""
    for own in feature_maps(table, feature):
        print_table(own, console, record=record, level=level)


def print_table(
    own: FeatureTable,
    console: Console,
    *,
    record: RunRecord | None = None,
    metric: str | None = None,
    level: float = 0.05,
) -> None:
    """Print the map that a feature's table is about."""
    drawn = head_map(own, metric, level=level)
    subtitle = map_subtitle(own, drawn, record)
    print_head_map(drawn, console, title=map_title(own.feature, record), subtitle=subtitle)


def print_head_map(drawn: HeadMap, console: Console, *, title: str, subtitle: str) -> None:
    """Print a map of any quantity, a stream below the other."""
    print_heading(console, title, subtitle)
    beside, known = list[str](), sides()
    together, blocks = 1, False
    for panel in drawn.panels:
        if len(drawn.panels) > 1:
            console.print(Text(panel.stream, style="bold"))
        beside, width = _layout(drawn, panel, console.width)
        if width >= NUMBER:
            header, rows = _numbers(drawn, panel)
        else:
            header, rows = _blocks(drawn, panel, width, console)
            together, blocks = max(together, _together(panel, width, console)), True
        layers = list(panel.values.index)
        for layer, row in reversed(list(zip(layers, rows, strict=True))):
            line = Text(no_wrap=True).append(f"{layer:>{LABEL - 1}} ", style="dim").append(row)
            for name in beside:
                value = number(float(panel.profile.loc[layer, name]))
                line.append(f"{value:>{SIDE}}")
            console.print(line, overflow="crop")
        names = "".join(f"{known[name][0]:>{SIDE}}" for name in beside)
        foot = Text(" " * LABEL + header + names, style="dim", no_wrap=True)
        console.print(foot, overflow="crop")
    legend = [f"* {chosen_label(drawn)}"] if drawn.ranks else []
    if together > 1:
        of = "largest" if drawn.quantity.diverging else "best"
        legend.append(f"a block: the {of} of {together} heads")
    if blocks and drawn.quantity.diverging and not console.color_system:
        legend.append("shades: above 0, digits: below, from 1 to 4 stronger")
    if drawn.evidence == "interval":
        legend.append("() or dot: the interval includes 0")
    elif drawn.evidence:
        legend.append(
            "() or dot: not "
            + ("beyond the matched control" if "control" in drawn.evidence else "significant")
        )
    legend += [": ".join(known[name]) for name in beside]
    console.print(Text(", ".join(legend), style="dim"))


def print_estimates(record: RunRecord, console: Console) -> None:
    """How well attribution orders heads, a line for each exact map beside it."""
    for quality in record.estimates:
        console.print(Text(encodable(quality.line, console)))


def print_heading(console: Console, title: str, subtitle: str) -> None:
    """An empty line, the title, and what the numbers are."""
    console.print()
    console.print(Text(encodable(title, console), style="bold"))
    console.print(Text(encodable(subtitle, console), style="dim"))


def _layout(drawn: HeadMap, panel: Panel, width: int) -> tuple[list[str], int]:
    """Which numbers stand beside the map, and how many characters a head gets.

    Numbers in the cells come before blocks of two and of one, and up to two numbers beside the
    map give way to them.
    """
    known = [name for name in sides() if name in panel.profile and drawn.site == "heads"]
    for characters in (_number_width(drawn, panel), 2, 1):
        for count in range(len(known), max(min(1, len(known)), len(known) - 2) - 1, -1):
            if LABEL + characters * panel.heads + SIDE * count <= width:
                return known[:count], characters
    return known[:1], 1


def _numbers(drawn: HeadMap, panel: Panel) -> tuple[str, list[Text]]:
    """A number a head: the header of head numbers, and a line for each layer."""
    scale, width = scale_of(drawn), _number_width(drawn, panel)
    narrow = min(width, NUMBER) if drawn.site != "heads" else width  # the name goes on after it
    header = "".join(f"{name} ".rjust(width) for name in panel.values.columns)
    lines = []
    for layer in panel.values.index:
        line = Text()
        for head in panel.values.columns:
            value = float(panel.values.loc[layer, head])
            if np.isnan(value):
                line.append(" " * width)
                continue
            text = _cell(drawn, panel, layer, head)
            strong = _strong(panel, layer, head)
            line.append(text.rjust(narrow), style=_style(scale, value) if strong else "dim")
        lines.append(line)
    return header, lines


def _cell(drawn: HeadMap, panel: Panel, layer: int, head: Any) -> str:
    """A head's number with its star, or in parentheses."""
    mark = "*" if _ranked(drawn, panel, layer, head) else " "
    text = number(float(panel.values.loc[layer, head]), drawn.quantity.name) + mark
    return text if _strong(panel, layer, head) else f"({text.strip()})"


def _number_width(drawn: HeadMap, panel: Panel) -> int:
    """Characters of a head's number; one more where weak effects need a sign, and in the single
    column of whole layers as many as its name."""
    if drawn.site != "heads":
        return max(NUMBER, *(len(str(name)) + 1 for name in panel.values))
    texts = (_cell(drawn, panel, layer, h) for layer in panel.values.index for h in panel.values)
    return max(NUMBER, max(map(len, texts))) if drawn.quantity.diverging else NUMBER


def _blocks(drawn: HeadMap, panel: Panel, width: int, console: Console) -> tuple[str, list[Text]]:
    """A block a head; in a model too wide for that, one for the best of several heads."""
    scale = scale_of(drawn)
    together = _together(panel, width, console)
    shades = SHADES if "utf" in console.encoding.lower() else PLAIN_SHADES
    grid = panel.values.to_numpy(dtype=float)  # (L, H)
    names = list(panel.values.columns)
    lines = []
    for row, layer in enumerate(panel.values.index):
        line = Text()
        for first in range(0, panel.heads, together):
            cells = [c for c in range(first, min(first + together, panel.heads))
                     if not np.isnan(grid[row, c])]  # fmt: skip
            strong = [c for c in cells if _strong(panel, layer, names[c])]
            star = any(_ranked(drawn, panel, layer, names[c]) for c in cells)
            if not strong:
                line.append(("*" if star else shades[0] if cells else " ").ljust(width),
                            style="dim")  # fmt: skip
                continue
            position = scale.position(grid[row, strong])
            strength = np.abs(position) if scale.diverging else np.maximum(position, 0.0)
            largest = int(np.argmax(strength if scale.diverging else position))
            best = grid[row, strong[largest]]
            four = BELOW if scale.diverging and best < 0 else shades[1:]
            shade = four[min(3, int(4 * strength[largest]))]
            if console.color_system:
                shade = " "  # its background has the colour
            line.append(("*" if star else shade) + shade * (width - 1), style=_style(scale, best))
        lines.append(line)
    header = "".join(str(names[c]).ljust(8 * width) for c in range(0, panel.heads, 8 * together))[
        : -(-panel.heads // together) * width
    ].ljust(-(-panel.heads // together) * width)
    return header, lines


def _together(panel: Panel, width: int, console: Console) -> int:
    """How many heads share a block of ``width`` characters."""
    return max(1, -(-panel.heads * width // max(8, console.width - LABEL - SIDE)))


def encodable(text: str, console: Console) -> str:
    """The text as it is shown, with what the terminal's encoding lacks replaced, so that printing
    cannot fail."""
    text, encoding = shown(text), console.encoding  # before rich drops what it knows to steer
    if "utf" not in encoding.lower():
        text = text.replace("·", "|").replace("−", "-")
    return text.encode(encoding, "replace").decode(encoding)


def _style(scale: Scale, value: float) -> Style:
    """The map's colour as background, with ink that can be read on it."""
    colour = scale.colours(value)
    dark = float(colour @ (0.299, 0.587, 0.114)) < 0.55
    return Style(color="#ffffff" if dark else "#1d2230", bgcolor=hexadecimal(colour))


def _strong(panel: Panel, layer: int, head: Any) -> bool:
    return panel.significant is None or bool(panel.significant.loc[layer, head])


def _ranked(drawn: HeadMap, panel: Panel, layer: int, head: object) -> bool:
    whole = drawn.site != "heads"
    return (panel.stream, int(layer), None if whole else int(str(head))) in drawn.ranks
