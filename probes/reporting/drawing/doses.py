"""Dose-response curves as an image: a column for each number of heads, a row for each measure."""

from __future__ import annotations

import io
import os
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from probes.reporting.drawing.colours import FAINT, INK, RULE
from probes.reporting.drawing.figures import (
    STYLE,
    Heading,
    axes_at,
    new_figure,
    readable,
    save_figure,
)
from probes.reporting.drawing.file_names import file_name
from probes.results.dose_curves import Curve, DoseCurves, curve_label
from probes.results.record import RunRecord
from probes.results.steered import SteeringRecord
from probes.results.table import features
from probes.results.vocabulary import COMPARATORS
from probes.results.vocabulary.doses import PERPLEXITY

WIDTH, HEIGHT, LEFT, GAP, UNDER, BETWEEN = 2.5, 1.5, 0.75, 0.55, 0.75, 0.3
"""Inches: of a panel, before the first, and between them."""
LEGEND = 2.0
SPREAD = 8
"""Between the ends of an axis of perplexities that is logarithmic."""
MAIN = "#22428a"
"""Of the direction's own curve."""


def save_doses(
    table: pd.DataFrame,
    record: SteeringRecord,
    directory: str | os.PathLike[str],
    *,
    run: RunRecord | None = None,
) -> list[Path]:
    """Draw the curves of a feature into ``directory``: a PNG for screens, an SVG for papers.

    The same results give the same bytes.
    """
    curves = DoseCurves.of(table, record.feature)
    name = file_name(record.feature, features(table))
    path = Path(directory) / f"{name}.steering.png"
    return save_figure(lambda: draw_doses(curves, record, run=run), path)


def doses_image(
    table: pd.DataFrame, record: SteeringRecord, *, run: RunRecord | None = None
) -> bytes:
    """The same as the bytes of a PNG, for a page."""
    content = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure = readable(draw_doses(DoseCurves.of(table, record.feature), record, run=run))
        figure.savefig(content, format="png", dpi=110, metadata={"Software": None})
    return content.getvalue()


def draw_doses(
    curves: DoseCurves, record: SteeringRecord, *, run: RunRecord | None = None
) -> Figure:
    """The figure: what is pushed to the right, what it changes upwards."""
    sizes, metrics = curves.sizes, curves.metrics
    width = LEFT + len(sizes) * (WIDTH + GAP) + LEGEND
    title = f"Steering '{record.feature}' towards '{record.towards}'"
    subtitle = f"Change with the push minus without, on test; heads by {record.chosen_by}."
    if run is not None:
        subtitle = f"{run.model.title}, {run.corpus.name}. {subtitle}"
    heading = Heading.wrapped(title, subtitle, width)
    height = heading.height + 0.2 + len(metrics) * (HEIGHT + BETWEEN) + UNDER - BETWEEN
    figure = new_figure(width, height, heading)
    for row, metric in enumerate(metrics):
        bottom = height - heading.height - 0.2 - HEIGHT - row * (HEIGHT + BETWEEN)
        for column, heads in enumerate(sizes):
            axes = axes_at(figure, (LEFT + column * (WIDTH + GAP), bottom, WIDTH, HEIGHT))
            for curve in curves.group(metric, heads):
                _draw(axes, curve)
            axes.axvline(0, color=RULE, linewidth=0.7, zorder=0)
            if metric == PERPLEXITY:
                _perplexity_axis(axes)
            else:
                axes.axhline(0, color=RULE, linewidth=0.7, zorder=0)
            if row == 0:
                what = "1 head" if heads == 1 else f"{heads} heads"
                axes.set_title(what, loc="left", size=9, color=INK, pad=5)
            if column == 0:
                label = curve_label(metric, record.towards)
                axes.set_ylabel(_broken(label), size=7.5)
            if row == len(metrics) - 1:
                axes.set_xlabel("strength, in standard deviations", size=7.5)
            _plain(axes)
            if row == 0 and column == len(sizes) - 1:
                axes.legend(
                    loc="upper left", bbox_to_anchor=(1.04, 1.0), frameon=False, fontsize=7,
                    handlelength=1.6, borderaxespad=0.0,
                )  # fmt: skip
    return figure


def _draw(axes: Axes, curve: Curve) -> None:
    colour = COMPARATORS[curve.variant].colour if curve.is_control else MAIN
    style = "--" if curve.is_control else "-"
    axes.plot(
        curve.strengths, curve.values, style, color=colour, marker="o", markersize=2.6,
        linewidth=1.0 if curve.is_control else 1.7, label=curve.label,
    )  # fmt: skip
    if np.isfinite(curve.low).any():
        opacity = 0.08 if curve.is_control else 0.18
        axes.fill_between(
            curve.strengths, curve.low, curve.high, color=colour, alpha=opacity, linewidth=0
        )


def _perplexity_axis(axes: Axes) -> None:
    """Logarithmic where a push multiplies the perplexity; a narrow range would have no ticks."""
    low, high = axes.get_ylim()
    if low <= 0 or high / low < SPREAD:
        return
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _plain(axes: Axes) -> None:
    axes.tick_params(length=2, labelsize=7, pad=2, color=RULE, labelcolor=FAINT)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _broken(label: str) -> str:
    """In two lines where it is longer than a panel is high."""
    words = label.split(" ")
    half = (len(words) + 1) // 2
    return label if len(label) < 24 else " ".join(words[:half]) + "\n" + " ".join(words[half:])
