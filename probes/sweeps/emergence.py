"""A sweep over the steps of a training as a picture: when does which head begin to know what.

The swept key is ``model.checkpoint`` of a simplified model, or ``model.revision`` where a Hub model
keeps its training steps as revisions (``step1000``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from probes.reporting.colours import BETTER, FAINT, INK
from probes.reporting.maps import LEFT, Heading, axes_at, file_name, new_figure, save_figure
from probes.results.table import main_probe, main_site, pick

if TYPE_CHECKING:
    from probes.sweeps.sweep import Job

STEP_KEYS = ("model.checkpoint", "model.revision")
WIDTH, TALL, GAP = 2.9, 2.1, 0.28
"""Inches of one stream's or layer's drawing."""
ACROSS = 4
LABELLED = 8
"""Heads of a layer that still get a colour and a name of their own."""


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
    """What a sweep shows of a training: nothing where steps are not among its keys.

    keys: the swept ones. Jobs that differ in other keys are trainings of their own; a training of
    which fewer than two steps are there is left out.
    """
    key = next((key for key in STEP_KEYS if key in keys), None)
    if key is None:
        return []
    trainings: dict[tuple[str, ...], dict[int, pd.DataFrame]] = {}
    others = [name for name in keys if name != key]
    for job in jobs:
        step = re.fullmatch(r"(?:step)?(\d+)", job.overrides.get(key, ""))
        if job.results is not None and step:
            settings = tuple(job.overrides.get(name, "") for name in others)
            trainings.setdefault(settings, {})[int(step[1])] = job.results
    found = []
    for settings, steps in trainings.items():
        named = dict(zip(others, settings, strict=True))
        names = dict.fromkeys(str(f) for table in steps.values() for f in table["feature"].unique())
        found += [_emergence(feature, named, steps) for feature in names]
    return [one for one in found if len(one.heads) > 1]


def _emergence(
    feature: str, settings: Mapping[str, str], steps: Mapping[int, pd.DataFrame]
) -> Emergence:
    rows: dict[int, dict[tuple[str, int, int], float]] = {}
    majority = None
    for step in sorted(steps):
        table = pick(steps[step], feature=feature, split="test", metric="accuracy")
        site = main_site(table)
        own = pick(table, site=site, probe=main_probe(table, site))
        if len(own):
            units = zip(own["stream"], own["layer"], own["head"].fillna(0), strict=True)
            rows[step] = dict(zip(units, own["value"].astype(float), strict=True))
        corpus = pick(table, site="corpus", probe="majority")["value"]
        majority = float(corpus.iloc[0]) if len(corpus) else majority
    found = sorted({unit for row in rows.values() for unit in row})
    heads = pd.DataFrame(
        [[row.get(unit, np.nan) for unit in found] for row in rows.values()],
        index=list(rows),
        columns=pd.MultiIndex.from_tuples(found, names=["stream", "layer", "head"]),
    )
    return Emergence(feature, settings, heads, majority)


def save_emergence(found: Sequence[Emergence], directory: Path) -> list[Path]:
    """Draw each as ``<feature>.png`` (and ``.svg``); other settings are part of the name."""
    paths = []
    for one in found:
        name = ".".join([one.feature, *(f"{k}={v}" for k, v in one.settings.items())])
        png = directory / f"{file_name(name)}.png"
        paths += save_figure(lambda one=one: draw_emergence(one), png)  # type: ignore[misc]
    return paths


def draw_emergence(one: Emergence) -> Figure:
    """A drawing for each layer, a line for each of its heads; dashed the majority baseline."""
    units: list[Any] = list(one.heads.columns)
    layers = list(dict.fromkeys((str(stream), int(layer)) for stream, layer, _ in units))
    streams = {stream for stream, _ in layers}
    across = min(ACROSS, len(layers))
    down = -(-len(layers) // across)
    width = LEFT + across * (WIDTH + GAP)
    said = ", ".join(f"{key}={value}" for key, value in one.settings.items())
    heading = Heading.wrapped(
        f"When each head learns '{one.feature}'",
        "Test accuracy of each head's probe over training steps; dashed: majority baseline"
        + (f". {said}" if said else ""),
        width,
    )
    height = heading.height + down * (TALL + 0.55) + 0.2
    figure = new_figure(width, height, heading)
    for place, (stream, layer) in enumerate(layers):
        row, column = divmod(place, across)
        x, y = LEFT + column * (WIDTH + GAP), height - heading.height - (row + 1) * (TALL + 0.55)
        axes = axes_at(figure, (x, y + 0.45, WIDTH, TALL))
        _draw_layer(axes, one, stream, layer)
        name = f"layer {layer}" if len(streams) == 1 else f"{stream} layer {layer}"
        axes.set_title(name, loc="left", size=9, color=INK, pad=4)
        if column:
            axes.set_yticklabels([])
        else:
            axes.set_ylabel("accuracy", size=8)
        if row == down - 1:
            axes.set_xlabel("training steps", size=8)
    return figure


def _draw_layer(axes: Axes, one: Emergence, stream: str, layer: int) -> None:
    heads = one.heads.xs((stream, layer), axis=1, level=("stream", "layer"))
    few = heads.shape[1] <= LABELLED
    shades = np.linspace(0.35, 1.0, heads.shape[1])
    for position, head in enumerate(heads.columns):
        colour = BETTER[int(shades[position] * (len(BETTER) - 1))]
        axes.plot(heads.index, heads[head], color=colour, linewidth=1.2, marker="o", markersize=2.2,
                  label=f"head {head}", alpha=1.0 if few else 0.6)  # fmt: skip
    if one.majority is not None:
        axes.axhline(one.majority, color=FAINT, linewidth=0.8, linestyle=(0, (3, 2)))
    axes.set_ylim(0, 1.02)
    axes.tick_params(labelsize=7, length=2)
    axes.grid(axis="y", color="#eceef2", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if few:
        axes.legend(loc="best", frameon=False, fontsize=7, handlelength=1.2, labelspacing=0.3)
