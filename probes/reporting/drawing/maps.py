"""The map of a feature as an image: layers as rows, layer 0 at the bottom, heads as columns.

Colours begin at the majority baseline, so that a head which knows nothing looks like nothing. The
heads that are best on validation are framed and numbered; heads that are not significant are small
and pale; layers with fewer heads are shorter rows. Beside each map stands its profile by depth.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from probes.reporting.captions import evidence_label, map_subtitle, map_title
from probes.reporting.drawing.colours import (
    BETTER,
    FAINT,
    INK,
    RULE,
    Scale,
    number,
    scale_of,
)
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
    save_figure,
    title_stream,
)
from probes.reporting.drawing.file_names import file_name
from probes.reporting.drawing.profiles import draw_legend, draw_profile
from probes.reporting.head_map import HeadMap, Panel, head_map
from probes.results.feature_table import FeatureTable
from probes.results.method_maps import feature_maps
from probes.results.record import RunRecord
from probes.results.table import features
from probes.results.vocabulary.positions import EVERYWHERE

# Inches.
PROFILE_WIDTH, BAR_HEIGHT = 1.7, 0.62
WIDEST = 15.0
ANNOTATED = 0.33
"""Cells at least this wide have their value written in them."""
NUMBERED = 0.13
"""Frames around cells at least this wide have their rank inside; beside them it would stand in the
cell of another head."""


def save_map(
    table: pd.DataFrame,
    feature: str,
    directory: str | os.PathLike[str],
    *,
    record: RunRecord | None = None,
    metric: str | None = None,
    level: float = 0.05,
) -> list[Path]:
    """Draw one feature's map into ``directory``: a PNG for screens, an SVG for papers.

    The same results give the same bytes.
    """
    own = FeatureTable.of(table, feature)
    name = file_name(feature, features(table))
    name += "" if metric in (None, own.metric) else f".{file_name(str(metric))}"
    return _save(own, Path(directory) / f"{name}.png", record=record, metric=metric, level=level)


def save_maps(
    table: pd.DataFrame,
    feature: str,
    directory: str | os.PathLike[str],
    *,
    record: RunRecord | None = None,
    level: float = 0.05,
) -> list[Path]:
    """Draw the feature's own map, and that of each other method beside it.

    ``<feature>.png`` and ``<feature>.<method>.<variant>[.<effect>][.<positions>].png``.
    """
    stem = file_name(feature, features(table))
    saved = []
    for place, own in enumerate(feature_maps(table, feature)):
        s = own.subject
        told = [s.method, s.probe, s.effect, "" if s.positions == EVERYWHERE else s.positions]
        parts = [stem, *(file_name(part) for part in told if part)] if place else [stem]
        saved += _save(own, Path(directory) / f"{'.'.join(parts)}.png", record=record, level=level)
    return saved


def _save(
    own: FeatureTable,
    png: Path,
    *,
    record: RunRecord | None,
    metric: str | None = None,
    level: float,
) -> list[Path]:
    drawn = head_map(own, metric, level=level)
    title = map_title(own.feature, record)
    subtitle = map_subtitle(own, drawn, record)
    return save_figure(lambda: draw_map(drawn, title=title, subtitle=subtitle), png)


def draw_map(drawn: HeadMap, *, title: str = "", subtitle: str = "") -> Figure:
    """The figure of a map; a panel for each stream, side by side where they fit."""
    scale = scale_of(drawn)
    cell = cell_size(drawn)
    widths = [LEFT + panel.heads * cell + GAP + PROFILE_WIDTH for panel in drawn.panels]
    heights = [len(panel.values) * cell for panel in drawn.panels]
    beside = sum(widths) + LEGEND_WIDTH + RIGHT <= WIDEST
    width = (sum(widths) if beside else max(widths)) + LEGEND_WIDTH + RIGHT
    heading = Heading.wrapped(title, subtitle, width)
    room = head_room(len(drawn.panels))
    rows = [max(heights)] if beside else heights
    height = heading.height + sum(room + row + UNDER for row in rows) + BAR_HEIGHT
    figure = new_figure(width, height, heading)
    x, top = 0.0, height - heading.height
    for index, panel in enumerate(drawn.panels):
        bottom = top - room - heights[index]
        where = (x + LEFT, bottom, panel.heads * cell, heights[index])
        axes = axes_at(figure, where)
        _draw_cells(axes, drawn, panel, scale, cell)
        if room:
            title_stream(axes, _stream_title(panel))
        beside_map = (where[0] + where[2] + GAP, bottom, PROFILE_WIDTH, heights[index])
        if len(panel.profile.columns):
            profile = axes_at(figure, beside_map)
            draw_profile(profile, panel.profile, drawn.quantity)
        if len(panel.profile.columns) and index == (len(drawn.panels) - 1 if beside else 0):
            draw_legend(profile)
        if beside:
            x += widths[index]
        else:
            top = bottom - UNDER
    bar_width = min(max(2.2, drawn.panels[0].heads * cell), 3.6)
    _draw_bar(axes_at(figure, (LEFT, 0.36, bar_width, 0.11)), drawn, scale)
    return figure


def cell_size(drawn: HeadMap) -> float:
    """Side of a cell in inches: large where there are few heads, never below a legible dot."""
    heads = max(panel.heads for panel in drawn.panels)
    layers = max(len(panel.values) for panel in drawn.panels)
    return float(np.clip(min(8.5 / heads, 8.0 / layers), 0.1, 0.42))


def _stream_title(panel: Panel) -> str:
    return {"cross": "cross-attention"}.get(panel.stream, panel.stream)


def _draw_cells(axes: Axes, drawn: HeadMap, panel: Panel, scale: Scale, cell: float) -> None:
    grid = panel.values.to_numpy()  # (L, H)
    row, column = np.nonzero(~np.isnan(grid))
    value = grid[row, column]
    strong = np.ones(len(value), dtype=bool)
    if panel.significant is not None:
        strong = panel.significant.reindex_like(panel.values).to_numpy()[row, column].astype(bool)
    colours = scale.colours(value)
    colours[~strong] = 0.45 * colours[~strong] + 0.55
    gap = 0.03 if cell > 0.2 else 0.05
    half = np.where(strong, 0.5 - gap, 0.31)[:, None]
    corner = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    squares = np.stack([column, row], axis=1)[:, None, :] + half[:, None] * corner
    edge = np.where(strong[:, None], colours * 0.92, 0.8)
    axes.add_collection(
        PolyCollection(list(squares), facecolors=colours, edgecolors=edge, linewidths=0.4)
    )
    if cell >= ANNOTATED:
        dark = colours @ (0.299, 0.587, 0.114) < 0.55
        for r, c, v, d, s in zip(row, column, value, dark, strong, strict=True):
            ink = "white" if d else INK if s else FAINT
            size = 6.5 if s else 5.5
            axes.text(int(c), int(r), number(v, drawn.quantity.name), ha="center", va="center",
                      size=size, color=ink)  # fmt: skip
    _draw_ranks(axes, drawn, panel, cell)

    layers, heads = grid.shape
    axes.set_xlim(-0.5, heads - 0.5)
    axes.set_ylim(-0.5, layers - 0.5)  # layer 0 at the bottom
    _ticks(axes, list(panel.values.columns), list(panel.values.index), cell)
    axes.set_xlabel("head" if drawn.site == "heads" else "", size=8)
    lowest = panel.values.index[0]
    axes.set_ylabel(f"layer ({lowest} at the bottom)" if layers * cell > 1.5
                    else f"layer,\n{lowest} at bottom",
                    size=8)  # fmt: skip
    axes.tick_params(length=0, labelsize=7, pad=3)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_ranks(axes: Axes, drawn: HeadMap, panel: Panel, cell: float) -> None:
    """Frame the heads that are best on validation, and number them inside their frames."""
    index = {layer: row for row, layer in enumerate(panel.values.index)}
    columns: dict[Any, int] = {head: column for column, head in enumerate(panel.values.columns)}
    for (stream, layer, head), rank in drawn.ranks.items():
        if stream != panel.stream or layer not in index:
            continue
        row, column = index[layer], 0 if head is None else columns[head]
        small = cell < ANNOTATED
        margin = 0.62 if cell < 0.2 else 0.48
        axes.add_patch(
            Rectangle(
                (column - margin, row - margin), 2 * margin, 2 * margin, fill=False,
                edgecolor=INK, linewidth=1.0 if small else 1.5, clip_on=False, zorder=4,
                path_effects=[withStroke(linewidth=2.6 if small else 3.0, foreground="white")],
            )
        )  # fmt: skip
        if cell < NUMBERED:
            continue
        if small:
            offset = (0.0, 0.0)
            size = min(7.0, 0.5 * cell * 72)
            place: dict[str, Any] = {"ha": "center", "va": "center_baseline", "size": size}
        else:
            offset = (-0.5 * cell * 72 + 3.2, 0.5 * cell * 72 - 2.6)
            place = {"ha": "left", "va": "top", "size": 5.2}
        halo = [withStroke(linewidth=1.8, foreground="white")]
        axes.annotate(
            str(rank), (column, row), xytext=offset, textcoords="offset points", weight="bold",
            color=INK, path_effects=halo, zorder=5, annotation_clip=False, **place,
        )  # fmt: skip


def _ticks(axes: Axes, heads: list[Any], layers: list[Any], cell: float) -> None:
    """Label as many heads and layers as there is room for, always the first ones."""
    for names, spacing, put in (
        (heads, 0.2, (axes.set_xticks, axes.set_xticklabels)),
        (layers, 0.15, (axes.set_yticks, axes.set_yticklabels)),
    ):
        step = next(s for s in (1, 2, 4, 5, 8, 10, 16, 20, 32, 1000) if s * cell >= spacing)
        at = list(range(0, len(names), step))
        put[0](at)
        put[1]([str(names[i]) for i in at])


def _draw_bar(axes: Axes, drawn: HeadMap, scale: Scale) -> None:
    """The colour scale, from the worst head (or the anchor) to the best."""
    q = drawn.quantity
    if scale.logarithmic:
        positions = np.linspace(0, 1, 256)
        ticks = {0.0: "1", 1 / 3: ".1", 2 / 3: ".01", 1.0: "≤.001"}
        colours = BETTER[np.rint(positions * (len(BETTER) - 1)).astype(int)]
        low, high = 0.0, 1.0
    else:
        span = scale.best - scale.anchor
        worst = drawn.high if q.lower_is_better else drawn.low
        low = -1.0 if q.diverging else min(0.0, float((worst - scale.anchor) / span))
        high = 1.0
        colours = scale.colours(scale.anchor + np.linspace(low, high, 256) * span)
        ticks = {at: number(scale.anchor + at * span, q.name) for at in (0.0, 0.5, 1.0)}
        if q.anchor_label:
            ticks[0.0] += f"\n{q.anchor_label}"
        if low < -0.25:
            ticks[low] = number(scale.anchor + low * span, q.name)
    axes.imshow(colours[None], aspect="auto", extent=(low, high, 0, 1))
    axes.set_yticks([])
    axes.set_xticks(sorted(ticks), [ticks[at] for at in sorted(ticks)])
    axes.tick_params(axis="x", length=2, labelsize=7, pad=2, color=RULE)
    for spine in axes.spines.values():
        spine.set_visible(False)
    label = q.label
    if drawn.evidence:
        label += f"   (small and pale: not {evidence_label(drawn).removeprefix('with ')})"
    axes.set_title(label, loc="left", size=7, color=FAINT, pad=3)
