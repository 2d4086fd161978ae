"""The figures of an atlas: a map for each stage, and the depth of all groups of heads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from probes.atlas.depth import THIRDS, GroupDepth
from probes.atlas.result import Atlas
from probes.atlas.stages import StageMap, paled, stage_maps
from probes.atlas.words import depth_line
from probes.reporting.drawing.colours import FAINT, INK, RULE
from probes.reporting.drawing.figures import (
    LEFT,
    Heading,
    axes_at,
    head_room,
    new_figure,
    save_figure,
    title_stream,
)
from probes.reporting.drawing.file_names import file_name
from probes.results.record import model_title

LEGEND = 3.4
"""Inches for the names of a stage's features."""
ROW, WIDTH, LABELS = 0.52, 4.6, 1.25
"""Inches of a group's row in the depth figure, of its drawing, of its name."""
CLAIM = "#f3e3c3"


def save_figures(atlas: Atlas, directory: Path) -> list[Path]:
    """``<stage>.png`` and ``depth.png``, each with its SVG."""
    saved = []
    for stage_map in stage_maps(atlas.table, atlas.lines):
        title = f"{stage_map.stage}: {stage_map.name} · {model_title(atlas.model)}"
        subtitle = (
            f"strongest significant feature of each head (false discovery rate {atlas.level:g} "
            f"over the whole atlas) · {stage_map.carrying} of {len(stage_map.cells)} heads carry "
            "one"
        )
        draw = partial(draw_stage, stage_map, title=title, subtitle=subtitle)
        saved += save_figure(draw, directory / f"{file_name(stage_map.stage)}.png")
    title = f"Stages over depth · {model_title(atlas.model)}"
    return saved + save_figure(
        lambda: draw_depth(atlas.depths, title=title), directory / "depth.png"
    )


def draw_stage(stage_map: StageMap, *, title: str, subtitle: str) -> Figure:
    """Layers as rows, layer 0 at the bottom; a cell's colour and number name a feature."""
    streams = stage_map.streams
    shapes = {
        stream: (
            1 + max(c.layer for c in stage_map.cells if c.stream == stream),
            1 + max(c.head for c in stage_map.cells if c.stream == stream),
        )
        for stream in streams
    }
    widest = max(heads for _, heads in shapes.values())
    deepest = max(layers for layers, _ in shapes.values())
    cell = float(np.clip(min(8.5 / widest, 8.0 / deepest), 0.1, 0.42))
    width = LEFT + widest * cell + 0.3 + LEGEND
    heading = Heading.wrapped(title, subtitle, width)
    room = head_room(len(streams))
    legend = 0.16 * len(stage_map.features) + 0.1
    tall = sum(layers * cell + room + 0.5 for layers, _ in shapes.values())
    height = heading.height + max(tall, legend)
    figure = new_figure(width, height, heading)
    top = height - heading.height
    for stream in streams:
        layers, heads = shapes[stream]
        bottom = top - room - layers * cell
        axes = axes_at(figure, (LEFT, bottom, heads * cell, layers * cell))
        _draw_cells(axes, stage_map, stream, cell)
        axes.set_xlim(-0.5, heads - 0.5)
        axes.set_ylim(-0.5, layers - 0.5)
        step = max(1, round(0.2 / cell))
        axes.set_xticks(range(0, heads, step))
        axes.set_yticks(range(0, layers, step))
        axes.tick_params(length=0, labelsize=7, pad=3)
        axes.set_xlabel("head", size=8)
        axes.set_ylabel("layer", size=8)
        if room:
            title_stream(axes, stream)
        for spine in axes.spines.values():
            spine.set_visible(False)
        top = bottom - 0.5
    x, y = LEFT + widest * cell + 0.3, height - heading.height - 0.08
    for feature in stage_map.features:
        figure.patches.append(
            Rectangle((x / width, (y - 0.05) / height), 0.11 / width, 0.11 / height,
                      transform=figure.transFigure, facecolor=feature.colour)
        )  # fmt: skip
        heads_of = f"{feature.heads} head" + "s" * (feature.heads != 1)
        label = f"{feature.number}  {feature.label}: {heads_of}"
        figure.text((x + 0.18) / width, y / height, label,
                    size=7, va="center", color=INK)  # fmt: skip
        y -= 0.16
    return figure


def _draw_cells(axes: Axes, stage_map: StageMap, stream: str, size: float) -> None:
    colours = {feature.number: feature.colour for feature in stage_map.features}
    for cell in stage_map.cells:
        if cell.stream != stream:
            continue
        half = 0.47 if cell.number else 0.2
        face = paled(colours[cell.number], cell.score) if cell.number else "#eef0f3"
        corner = (cell.head - half, cell.layer - half)
        axes.add_patch(Rectangle(corner, 2 * half, 2 * half, facecolor=face, edgecolor="none"))
        if cell.number and size >= 0.2:
            axes.text(cell.head, cell.layer, str(cell.number), size=6.5, ha="center", va="center",
                      color=INK)  # fmt: skip


def draw_depth(groups: Sequence[GroupDepth], *, title: str) -> Figure:
    """For each group its strength by layer, its centre, and the third that the survey claims."""
    width = LEFT + LABELS + WIDTH + 0.4
    subtitle = (
        "strength: mean over heads of the best significant score of the group · diamond: its "
        "centre · shaded: the third of the depth in which the survey sees such heads"
    )
    heading = Heading.wrapped(title, subtitle, width)
    height = heading.height + ROW * max(1, len(groups)) + 0.5
    figure = new_figure(width, height, heading)
    several = len({group.stream for group in groups}) > 1
    for row, group in enumerate(groups):
        bottom = height - heading.height - ROW * (row + 1)
        axes = axes_at(figure, (LEFT + LABELS, bottom + 0.06, WIDTH, ROW - 0.12))
        _draw_strength(axes, group)
        last = row == len(groups) - 1
        axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"] if last else ["", "", ""])
        if last:
            axes.set_xlabel("relative depth (first layer 0, last layer 1)", size=8)
        name = f"{group.name}\n{group.stream}" if several else group.name
        axes.set_ylabel(name, size=8, rotation=0, ha="right", va="center", labelpad=8)
    return figure


def _draw_strength(axes: Axes, group: GroupDepth) -> None:
    layers = len(group.depth)
    step = 1 / (layers - 1) if layers > 1 else 1.0
    if group.claim is not None:
        low, high = THIRDS[group.claim]
        axes.axvspan(low - step / 2 * (low == 0), high + step / 2 * (high == 1), color=CLAIM,
                     zorder=0)  # fmt: skip
    axes.bar(group.depth, group.strength, width=0.8 * step, color="#4b9cc6", zorder=2)
    highest = max([*group.strength, 1e-9])
    for depth, strength, heads in zip(group.depth, group.strength, group.heads, strict=True):
        if heads and layers <= 16:
            axes.text(depth, strength, str(heads), size=6, ha="center", va="bottom", color=FAINT,
                      zorder=3)  # fmt: skip
    if group.centre is not None:
        axes.plot([group.centre], [highest * 0.5], marker="D", color=INK, markersize=5, zorder=4,
                  markeredgecolor="white", markeredgewidth=0.8)  # fmt: skip
    else:
        axes.text(0.5, 0.5, "no head carries it", transform=axes.transAxes, size=7, color=FAINT,
                  ha="center", va="center")  # fmt: skip
    axes.set_xlim(-step / 2, 1 + step / 2)
    axes.set_ylim(0, highest * 1.35 if group.centre is not None else 1)
    axes.set_yticks([])
    axes.tick_params(axis="x", length=2, labelsize=7, color=RULE)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def depth_lines(groups: Sequence[GroupDepth]) -> list[str]:
    """The figure in words, a line for each group."""
    several = len({group.stream for group in groups}) > 1
    return [(f"{group.stream}, " if several else "") + depth_line(group) for group in groups]
