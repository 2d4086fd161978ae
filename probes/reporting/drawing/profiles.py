"""A profile by depth: a line for each thing measured in every layer, layer 0 at the bottom.

It is drawn to the right of a map and shares its rows, or alone where two models have different
layers.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from probes.reporting.drawing.colours import FAINT, RULE, Lines, profile_lines
from probes.results.quantities import Quantity


def draw_profile(
    axes: Axes, profile: pd.DataFrame, quantity: Quantity, lines: Lines | None = None
) -> None:
    """Each column of ``lines`` that ``profile`` has, with its band from ``_low`` to ``_high``.

    lines: by default those of a map.
    """
    lines = profile_lines(signed=quantity.diverging) if lines is None else lines
    rows = np.arange(len(profile))
    few = len(rows) <= 40
    if quantity.anchor_label:
        axes.axvline(quantity.anchor, color=FAINT, linewidth=0.8, linestyle=(0, (3, 2)),
                     label=quantity.anchor_label)  # fmt: skip
    for name, (colour, label) in lines.items():
        if name not in profile:
            continue
        value = profile[name].to_numpy(dtype=float)
        known = np.isfinite(value)  # a line goes on over layers that were not measured
        axes.plot(value[known], rows[known], color=colour, linewidth=1.1, marker="o" if few else "",
                  markersize=2.6, label=label, zorder=3)  # fmt: skip
        if f"{name}_low" in profile:
            low, high = (profile[name + end].to_numpy(dtype=float) for end in ("_low", "_high"))
            axes.fill_betweenx(rows[known], low[known], high[known],
                               color=colour, alpha=0.14, linewidth=0, zorder=2)  # fmt: skip
    axes.set_ylim(-0.5, len(rows) - 0.5)
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=4)
    axes.set_xlabel(quantity.label, size=8)
    axes.tick_params(axis="x", length=2, labelsize=7, pad=2, color=RULE)
    axes.grid(axis="x", color="#eceef2", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def draw_legend(axes: Axes, *of: Axes) -> None:
    """Names of the lines, to the right of the profile; those of other axes too."""
    handles = [handle for one in of or (axes,) for handle in one.get_legend_handles_labels()[0]]
    axes.legend(
        handles=handles,
        loc="upper left", bbox_to_anchor=(1.03, 1.0), frameon=False, fontsize=7,
        handlelength=1.4, labelspacing=0.35, borderaxespad=0.0,
    )  # fmt: skip
