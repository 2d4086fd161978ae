"""What all figures share: style, heading, axes in inches, and how they are saved."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from probes.core.files import atomic_path
from probes.core.shown import shown
from probes.reporting.drawing.colours import FAINT, INK, RULE

# Inches.
LEFT, RIGHT, GAP = 0.62, 0.2, 0.34
LEGEND_WIDTH, UNDER = 1.25, 0.5
LINE = 0.185

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.edgecolor": RULE,
    "axes.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "text.color": INK,
    "axes.labelcolor": INK,
    "text.parse_math": False,
    "svg.hashsalt": "headprobes",
}


def save_figure(draw: Callable[[], Figure], png: Path, *, shared: bool = False) -> list[Path]:
    """Draw in the style of all maps; write a PNG, and an SVG of the same name, each complete or not
    at all.

    shared: several processes may write these files at the same time; see ``atomic_path``.
    """
    png.parent.mkdir(parents=True, exist_ok=True)
    svg = png.with_suffix(".svg")
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # A class name in a script that the font lacks is drawn as boxes, no reason to be loud.
        warnings.filterwarnings("ignore", message="Glyph")
        figure = readable(draw())
        with atomic_path(png, durable=False, shared=shared) as path:
            figure.savefig(path, format="png", dpi=200, metadata={"Software": None})
        with atomic_path(svg, durable=False, shared=shared) as path:
            figure.savefig(path, format="svg", metadata={"Date": None})
    return [png, svg]


def readable(figure: Figure) -> Figure:
    """The figure, with what would steer or break a picture spelled out in its texts."""
    for text in figure.findobj(Text):
        text.set_text(shown(text.get_text()))
    return figure


@dataclass(frozen=True)
class Heading:
    """What stands above a drawing, in lines that fit its width."""

    titles: list[str]
    lines: list[str]

    @classmethod
    def wrapped(cls, title: str, subtitle: str, width: float) -> Heading:
        """Broken into lines for a figure of this width in inches, none at the dot between parts."""
        title, subtitle = (text.replace(" ·", "\N{NO-BREAK SPACE}·") for text in (title, subtitle))
        return cls(
            textwrap.wrap(title, max(24, int((width - LEFT) / 0.1))),
            textwrap.wrap(subtitle, max(40, int((width - LEFT) / 0.066))),
        )

    @property
    def height(self) -> float:
        """Inches from the top of the figure to what is drawn below."""
        return 0.22 + 0.22 * len(self.titles) + LINE * len(self.lines) + 0.12


def new_figure(width: float, height: float, heading: Heading) -> Figure:
    """An empty figure of that many inches with its heading."""
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    y = height - 0.3
    for line in heading.titles:
        figure.text(LEFT / width, y / height, line, size=11, weight="bold", va="baseline")
        y -= 0.22
    for line in heading.lines:
        figure.text(LEFT / width, y / height, line, size=8, color=FAINT, va="baseline")
        y -= LINE
    return figure


def head_room(streams: int) -> float:
    """Inches above the panel of a stream: where there are several, each has its title."""
    return 0.24 if streams > 1 else 0.0


def title_stream(axes: Axes, title: str) -> None:
    """Write the name of a stream into its head room."""
    axes.set_title(title, loc="left", size=9, color=INK, pad=6)


def axes_at(figure: Figure, where: tuple[float, float, float, float]) -> Axes:
    """Axes at x, y with width, height, in inches."""
    width, height = figure.get_size_inches()
    x, y, w, h = where
    return figure.add_axes((x / width, y / height, w / width, h / height))
