"""Two atlases side by side: in the terminal, and as small multiples of depth profiles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from probes.atlas.names import feature_label
from probes.atlas.transfer import Transfer, counts
from probes.reporting.drawing.colours import FAINT, INK, RULE
from probes.reporting.drawing.maps import LEFT, Heading, axes_at, new_figure, save_figure
from probes.reporting.terminal import sayable
from probes.results.atlas import SavedAtlas
from probes.results.record import model_title

FIRST, SECOND = "#1f5fa8", "#a04f00"
ACROSS, WIDTH, TALL, GAP, UNDER = 5, 1.75, 1.0, 0.3, 0.62
"""Drawings in a row; inches of each, between them, and below."""
FEW = 17
"""Depths below which each is marked."""


def print_transfers(
    found: Sequence[Transfer], first: SavedAtlas, second: SavedAtlas, console: Console
) -> None:
    """A line for each feature, those carried by both models first."""

    def say(text: str) -> Text:
        return Text(sayable(text, console))

    console.print()
    names = model_title(first.model), model_title(second.model)
    title = f"{names[0]} (first) against {names[1]} (second), by relative depth"
    console.print(Text(sayable(title, console), style="bold"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    several = len({one.stream for one in found}) > 1
    table.add_column("stage", no_wrap=True)
    table.add_column("feature", overflow="fold", ratio=1)
    if several:
        table.add_column("stream")
    for name in ("heads", "best score", "centre"):
        table.add_column(f"{name}\n1st", justify="right", no_wrap=True)
        table.add_column("\n2nd", justify="right", no_wrap=True)
    table.add_column("rank\ncorr.", justify="right", no_wrap=True)
    order = ("both", "first", "second", "neither")
    for one in sorted(found, key=lambda t: order.index(t.carried)):
        a, b = one.first, one.second
        cells = [
            one.stages,
            feature_label(one.feature, one.corpus),
            *([one.stream] if several else []),
            *(f"{side.significant}/{side.heads}" for side in (a, b)),
            *(f"{side.best.max():.2f}" for side in (a, b)),
            *(_text(side.centre) for side in (a, b)),
            _text(one.correlation, "+.2f"),
        ]
        table.add_row(*(say(cell) for cell in cells))
    console.print(table)
    many = counts(found)
    console.print(
        say(
            f"{many['both']} of {len(found)} features are carried by heads of both models, "
            f"{many['first']} only by the first, {many['second']} only by the second, "
            f"{many['neither']} by neither. Rank correlation: of the mean score of each layer over "
            "relative depth; centre: the mean depth, weighted by that score."
        )
    )


def save_transfers(
    found: Sequence[Transfer], first: SavedAtlas, second: SavedAtlas, png: Path
) -> list[Path]:
    """The profiles of all features; the PNG, and the SVG beside it."""
    title = f"{model_title(first.model)} (blue) and {model_title(second.model)} (orange)"
    return save_figure(lambda: draw_transfers(found, title=title), png)


def draw_transfers(found: Sequence[Transfer], *, title: str) -> Figure:
    """A small drawing for each feature: score of the best head (line) and mean (dashed)."""
    across = min(ACROSS, len(found))
    rows = -(-len(found) // across)
    width = max(LEFT + across * (WIDTH + GAP), 5.2)
    subtitle = (
        "score over relative depth: line the best head of a layer, dashed the mean of its heads · "
        "triangle: centre · pale: carried by no head"
    )
    heading = Heading.wrapped(title, subtitle, width)
    height = heading.height + rows * (TALL + UNDER) + 0.1
    figure = new_figure(width, height, heading)
    for number, one in enumerate(found):
        row, column = divmod(number, across)
        x = LEFT + column * (WIDTH + GAP)
        y = height - heading.height - row * (TALL + UNDER) - TALL - 0.26
        axes = axes_at(figure, (x, y, WIDTH, TALL))
        _draw(axes, one)
        if column == 0:
            axes.set_ylabel("score", size=7)
    return figure


def _draw(axes: Axes, one: Transfer) -> None:
    for side, colour in ((one.first, FIRST), (one.second, SECOND)):
        strength = 1.0 if side.significant else 0.3
        marker = "o" if len(one.depth) < FEW else ""
        axes.plot(one.depth, side.best, color=colour, alpha=strength, linewidth=1.2,
                  marker=marker, markersize=2.2)  # fmt: skip
        axes.plot(one.depth, side.mean, color=colour, alpha=0.7 * strength, linewidth=0.9,
                  linestyle=(0, (3, 2)))  # fmt: skip
        if side.centre is not None:
            axes.plot([side.centre], [0.0], marker="^", color=colour, alpha=strength, markersize=4,
                      clip_on=False)  # fmt: skip
    low = float(np.min([one.first.mean, one.second.mean]))
    high = float(np.max([one.first.best, one.second.best]))
    axes.set_ylim(min(0.0, low) - 0.02, max(0.1, high) * 1.08)
    axes.set_xlim(-0.03, 1.03)
    axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
    axes.locator_params(axis="y", nbins=3)
    axes.tick_params(length=2, labelsize=6, color=RULE, pad=2)
    axes.axhline(0, color=RULE, linewidth=0.7)
    known = "" if one.correlation is None else f"ρ {one.correlation:+.2f}"
    name = feature_label(one.feature, one.corpus)
    axes.set_title(name[:30] + "…" * (len(name) > 30), loc="left", size=6.5, color=INK, pad=9)
    axes.text(0, 1.03, f"{one.stages}  {known}", transform=axes.transAxes, size=6, color=FAINT)
    for side_name in ("top", "right"):
        axes.spines[side_name].set_visible(False)


def _text(value: float | None, form: str = ".2f") -> str:
    return "–" if value is None else format(value, form)
