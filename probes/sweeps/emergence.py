"""A sweep over the steps of a training as a picture: when each head learns which feature.

The swept key is ``model.checkpoint`` of a simplified model, or ``model.revision`` where a Hub model
keeps its training steps as revisions (``step1000``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from probes.reporting.drawing.colours import BETTER, FAINT, INK
from probes.reporting.drawing.figures import LEFT, Heading, axes_at, new_figure, save_figure
from probes.reporting.drawing.file_names import file_name
from probes.results.feature_table import UNIT, FeatureTable
from probes.results.table import features
from probes.sweeps.jobs import Job

STEP_KEYS = ("model.checkpoint", "model.revision")
WIDTH, TALL, GAP = 2.9, 2.1, 0.28
"""Inches of one layer's drawing, and between two of them."""
ACROSS = 4
LABELLED = 8
"""Layers with at most so many heads get a legend and opaque lines."""


@dataclass(frozen=True)
class Emergence:
    """Test accuracy of every head of one feature over the steps of a training."""

    feature: str
    settings: Mapping[str, str]
    """The other swept keys, one value each."""
    heads: pd.DataFrame
    """Index: steps, ascending; columns: (stream, layer, head)."""
    majority: float | None


def emergences(jobs: Sequence[Job], keys: Sequence[str]) -> list[Emergence]:
    """One for each feature and training of a sweep; none where no training step was swept.

    keys: of ``swept_keys``. Jobs that differ in keys other than the step belong to different
    trainings; a training with fewer than two finished steps is left out.
    """
    key = next((key for key in STEP_KEYS if key in keys), None)
    if key is None:
        return []
    trainings: dict[tuple[str, ...], dict[int, pd.DataFrame]] = {}
    others = [name for name in keys if name != key]
    for job in jobs:
        step = re.fullmatch(r"(?:step)?(\d+)", job.overrides.get(key, ""))
        if job.results is not None and step:
            values = tuple(job.overrides.get(name, "") for name in others)
            trainings.setdefault(values, {})[int(step[1])] = job.results
    every = []
    for values, steps in trainings.items():
        settings = dict(zip(others, values, strict=True))
        names = dict.fromkeys(name for table in steps.values() for name in features(table))
        every += [_emergence(feature, settings, steps) for feature in names]
    return [emergence for emergence in every if len(emergence.heads) > 1]


def _emergence(
    feature: str, settings: Mapping[str, str], steps: Mapping[int, pd.DataFrame]
) -> Emergence:
    rows: dict[int, dict[tuple[str, int, int], float]] = {}
    majority = None
    for step in sorted(steps):
        if feature not in features(steps[step]):
            continue
        own = FeatureTable.of(steps[step], feature)
        accuracy = own.values("accuracy")
        if len(accuracy):
            units = zip(
                accuracy["stream"], accuracy["layer"], accuracy["head"].fillna(0), strict=True
            )
            rows[step] = dict(zip(units, accuracy["value"].astype(float), strict=True))
        reached = own.baseline()
        majority = majority if reached is None else reached
    columns = sorted({unit for row in rows.values() for unit in row})
    heads = pd.DataFrame(
        [[row.get(unit, np.nan) for unit in columns] for row in rows.values()],
        index=list(rows),
        columns=pd.MultiIndex.from_tuples(columns, names=UNIT),
    )
    return Emergence(feature, settings, heads, majority)


def save_emergence(emergences: Sequence[Emergence], directory: Path) -> list[Path]:
    """Draw each as ``<feature>.png`` (and ``.svg``); other settings are part of the name."""
    paths = []
    names = [
        ".".join([emergence.feature, *(f"{k}={v}" for k, v in emergence.settings.items())])
        for emergence in emergences
    ]
    for name, emergence in zip(names, emergences, strict=True):
        png = directory / f"{file_name(name, names)}.png"
        # Shared: multiruns that have one directory may end at the same time.
        paths += save_figure(partial(draw_emergence, emergence), png, shared=True)
    return paths


def draw_emergence(emergence: Emergence) -> Figure:
    """A drawing for each layer with a line for each of its heads; dashed: majority baseline."""
    units = emergence.heads.columns.to_frame(index=False)
    layers = list(
        dict.fromkeys(zip(units["stream"].map(str), units["layer"].map(int), strict=True))
    )
    streams = {stream for stream, _ in layers}
    across = min(ACROSS, len(layers))
    down = -(-len(layers) // across)
    width = LEFT + across * (WIDTH + GAP)
    settings = ", ".join(f"{key}={value}" for key, value in emergence.settings.items())
    heading = Heading.wrapped(
        f"When each head learns '{emergence.feature}'",
        "Test accuracy of each head's probe over training steps; dashed: majority baseline"
        + (f". {settings}" if settings else ""),
        width,
    )
    height = heading.height + down * (TALL + 0.55) + 0.2
    figure = new_figure(width, height, heading)
    for place, (stream, layer) in enumerate(layers):
        row, column = divmod(place, across)
        x, y = LEFT + column * (WIDTH + GAP), height - heading.height - (row + 1) * (TALL + 0.55)
        axes = axes_at(figure, (x, y + 0.45, WIDTH, TALL))
        _draw_layer(axes, emergence, stream, layer)
        name = f"layer {layer}" if len(streams) == 1 else f"{stream} layer {layer}"
        axes.set_title(name, loc="left", size=9, color=INK, pad=4)
        if column:
            axes.set_yticklabels([])
        else:
            axes.set_ylabel("accuracy", size=8)
        if row == down - 1:
            axes.set_xlabel("training steps", size=8)
    return figure


def _draw_layer(axes: Axes, emergence: Emergence, stream: str, layer: int) -> None:
    heads = emergence.heads.xs((stream, layer), axis=1, level=("stream", "layer"))
    few = heads.shape[1] <= LABELLED
    shades = np.linspace(0.35, 1.0, heads.shape[1])
    for position, head in enumerate(heads.columns):
        colour = BETTER[int(shades[position] * (len(BETTER) - 1))]
        axes.plot(heads.index, heads[head], color=colour, linewidth=1.2, marker="o", markersize=2.2,
                  label=f"head {head}", alpha=1.0 if few else 0.6)  # fmt: skip
    if emergence.majority is not None:
        axes.axhline(emergence.majority, color=FAINT, linewidth=0.8, linestyle=(0, (3, 2)))
    axes.set_ylim(0, 1.02)
    axes.tick_params(labelsize=7, length=2)
    axes.grid(axis="y", color="#eceef2", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if few:
        axes.legend(loc="best", frameon=False, fontsize=7, handlelength=1.2, labelspacing=0.3)
