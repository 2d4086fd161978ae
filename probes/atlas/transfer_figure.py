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
from probes.reporting.drawing.figures import LEFT, Heading, axes_at, new_figure, save_figure
from probes.reporting.terminal import encodable
from probes.results.atlas import SavedAtlas
from probes.results.record import model_title

FIRST, SECOND = "#1f5fa8", "#a04f00"
ACROSS, WIDTH, TALL, GAP, UNDER = 5, 1.75, 1.0, 0.3, 0.62
"""Drawings in a row; width, height and gaps of each in inches."""
FEW = 17
"""With fewer depths each of them is marked."""


def print_transfers(
    transfers: Sequence[Transfer], first: SavedAtlas, second: SavedAtlas, console: Console
) -> None:
    """A line for each feature, those carried by both models first."""

    def say(text: str) -> Text:
        return Text(encodable(text, console))

    console.print()
    names = model_title(first.model), model_title(second.model)
    title = f"{names[0]} (first) against {names[1]} (second), by relative depth"
    console.print(Text(encodable(title, console), style="bold"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    several = len({transfer.stream for transfer in transfers}) > 1
    table.add_column("stage", no_wrap=True)
    table.add_column("feature", overflow="fold", ratio=1)
    if several:
        table.add_column("stream")
    for name in ("heads", "best score", "centre"):
        table.add_column(f"{name}\n1st", justify="right", no_wrap=True)
        table.add_column("\n2nd", justify="right", no_wrap=True)
    table.add_column("rank\ncorr.", justify="right", no_wrap=True)
    order = ("both", "first", "second", "neither")
    for transfer in sorted(transfers, key=lambda t: order.index(t.carried)):
        a, b = transfer.first, transfer.second
        cells = [
            transfer.stages,
            feature_label(transfer.feature, transfer.corpus),
            *([transfer.stream] if several else []),
            *(f"{profile.significant}/{profile.heads}" for profile in (a, b)),
            *(f"{profile.best.max():.2f}" for profile in (a, b)),
            *(_text(profile.centre) for profile in (a, b)),
            _text(transfer.correlation, "+.2f"),
        ]
        table.add_row(*(say(cell) for cell in cells))
    console.print(table)
    many = counts(transfers)
    console.print(
        say(
            f"{many['both']} of {len(transfers)} features are carried by heads of both models, "
            f"{many['first']} only by the first, {many['second']} only by the second, "
            f"{many['neither']} by neither. Rank correlation: of the mean score of each layer over "
            "relative depth; centre: the mean depth, weighted by that score."
        )
    )


def save_transfers(
    transfers: Sequence[Transfer], first: SavedAtlas, second: SavedAtlas, png: Path
) -> list[Path]:
    """Draw the profiles of all features as PNG and SVG; the paths of both."""
    title = f"{model_title(first.model)} (blue) and {model_title(second.model)} (orange)"
    return save_figure(lambda: draw_transfers(transfers, title=title), png)


def draw_transfers(transfers: Sequence[Transfer], *, title: str) -> Figure:
    """A drawing for each feature: score of each layer's best head (line) and mean (dashed)."""
    across = min(ACROSS, len(transfers))
    rows = -(-len(transfers) // across)
    width = max(LEFT + across * (WIDTH + GAP), 5.2)
    subtitle = (
        "score over relative depth: line the best head of a layer, dashed the mean of its heads · "
        "triangle: centre · pale: carried by no head"
    )
    heading = Heading.wrapped(title, subtitle, width)
    height = heading.height + rows * (TALL + UNDER) + 0.1
    figure = new_figure(width, height, heading)
    for number, transfer in enumerate(transfers):
        row, column = divmod(number, across)
        x = LEFT + column * (WIDTH + GAP)
        y = height - heading.height - row * (TALL + UNDER) - TALL - 0.26
        axes = axes_at(figure, (x, y, WIDTH, TALL))
        _draw(axes, transfer)
        if column == 0:
            axes.set_ylabel("score", size=7)
    return figure


def _draw(axes: Axes, transfer: Transfer) -> None:
    for profile, colour in ((transfer.first, FIRST), (transfer.second, SECOND)):
        strength = 1.0 if profile.significant else 0.3
        marker = "o" if len(transfer.depth) < FEW else ""
        axes.plot(transfer.depth, profile.best, color=colour, alpha=strength, linewidth=1.2,
                  marker=marker, markersize=2.2)  # fmt: skip
        axes.plot(transfer.depth, profile.mean, color=colour, alpha=0.7 * strength, linewidth=0.9,
                  linestyle=(0, (3, 2)))  # fmt: skip
        if profile.centre is not None:
            axes.plot([profile.centre], [0.0], marker="^", color=colour, alpha=strength,
                      markersize=4, clip_on=False)  # fmt: skip
    low = float(np.min([transfer.first.mean, transfer.second.mean]))
    high = float(np.max([transfer.first.best, transfer.second.best]))
    axes.set_ylim(min(0.0, low) - 0.02, max(0.1, high) * 1.08)
    axes.set_xlim(-0.03, 1.03)
    axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
    axes.locator_params(axis="y", nbins=3)
    axes.tick_params(length=2, labelsize=6, color=RULE, pad=2)
    axes.axhline(0, color=RULE, linewidth=0.7)
    known = "" if transfer.correlation is None else f"ρ {transfer.correlation:+.2f}"
    name = feature_label(transfer.feature, transfer.corpus)
    axes.set_title(name[:30] + "…" * (len(name) > 30), loc="left", size=6.5, color=INK, pad=9)
    axes.text(0, 1.03, f"{transfer.stages}  {known}", transform=axes.transAxes, size=6, color=FAINT)
    for side_name in ("top", "right"):
        axes.spines[side_name].set_visible(False)


def _text(value: float | None, form: str = ".2f") -> str:
    return "–" if value is None else format(value, form)
