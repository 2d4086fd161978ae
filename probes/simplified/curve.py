"""The training curve as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from probes.config import SimplifiedConfig
from probes.reporting.drawing.colours import FAINT, INK
from probes.reporting.drawing.figures import LEFT, Heading, axes_at, new_figure, save_figure
from probes.simplified.training import Point

WIDTH, TALL = 5.2, 2.2
"""Inches of the drawing; the figure has room for labels around it."""


def save_curve(curve: Sequence[Point], config: SimplifiedConfig, png: Path) -> list[Path]:
    """Accuracy on held-out prompts and training loss over steps; a PNG, and an SVG beside it."""

    def draw() -> Figure:
        width = LEFT + WIDTH + 0.7
        heading = Heading.wrapped(
            f"Training on '{config.task}'",
            f"{config.architecture}, {config.layers} layers of {config.heads} heads, width "
            f"{config.width}; accuracy {curve[-1].accuracy:.3f} after {curve[-1].step} steps",
            width,
        )
        height = heading.height + TALL + 0.55
        figure = new_figure(width, height, heading)
        axes = axes_at(figure, (LEFT, 0.5, WIDTH, TALL))
        steps = [point.step for point in curve]
        axes.plot(steps, [p.accuracy for p in curve], color="#1f5fa8", marker="o", markersize=2.4)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("training steps", size=8)
        axes.set_ylabel("accuracy on held-out prompts", size=8, color="#1f5fa8")
        if config.target is not None:
            axes.axhline(config.target, color=FAINT, linewidth=0.8, linestyle=(0, (3, 2)))
        loss = axes.twinx()
        loss.plot(steps, [point.loss for point in curve], color="#a04f00", linewidth=1.0)
        loss.set_ylim(bottom=0)
        loss.set_ylabel("loss (nats)", size=8, color="#a04f00")
        for drawn in (axes, loss):
            drawn.spines["top"].set_visible(False)
            drawn.tick_params(labelsize=7, color=INK)
        return figure

    return save_figure(draw, png)
