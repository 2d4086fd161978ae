"""The numbers of a page as plain lists, for the script that draws them in the browser."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from probes.core.shown import shown
from probes.reporting.captions import evidence_label
from probes.reporting.drawing.colours import (
    BETTER,
    LARGEST,
    LESS,
    WORSE,
    hexadecimal,
    profile_lines,
    scale_of,
)
from probes.reporting.head_map import HeadMap, Panel, head_map
from probes.results.feature_table import FeatureTable, sort_streams
from probes.results.table import distinct, layers_by_heads, pick
from probes.results.vocabulary.quantities import RECALL

Numbers = list[float | None]


def feature_data(
    own: FeatureTable, *, level: float, classes: int, only: str | None = None
) -> dict[str, Any]:
    """Everything that is drawn of one feature: quantities, their maps by stream, profiles.

    ``only`` keeps one quantity (small multiples need no more).
    """
    names = [name for name in own.names if only in (None, name)]
    # All quantities are shown with the ranks of the first, by which heads are chosen.
    maps = [
        head_map(own, name, level=level, classes=classes, k=0 if number else 5)
        for number, name in enumerate(names)
    ]
    if not maps:
        return {"name": own.feature, "quantities": [], "panels": []}
    return {
        "name": own.feature,
        "label": maps[0].label,
        "quantities": [_quantity_data(drawn) for drawn in maps],
        "panels": [
            _panel_data(own, maps, stream, detailed=only is None) for stream in _streams(maps)
        ],
        "evidence": evidence_label(maps[0]) if maps[0].evidence else None,
        "tested": maps[0].tested,
        "passed": maps[0].passed,
        "whole": maps[0].site != "heads",
        "site": maps[0].site,
    }


def colour_data() -> dict[str, Any]:
    """The ramps and the colours of profiles, so that page and image agree."""
    lines = profile_lines()
    return {
        "better": [hexadecimal(colour) for colour in BETTER],
        "worse": [hexadecimal(colour) for colour in WORSE],
        "less": [hexadecimal(colour) for colour in LESS],
        "largest": LARGEST,
        "profile": {name: colour for name, (colour, _) in lines.items()},
        "labels": {name: label for name, (_, label) in lines.items()},
    }


def embed(data: Any) -> Markup:
    r"""JSON that may stand inside a ``<script>``: no text in it can end the element.

    >>> print(embed({"name": "</script><b>"}))
    {"name":"\u003c/script\u003e\u003cb\u003e"}
    """
    text = json.dumps(_plain(data), allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _quantity_data(drawn: HeadMap) -> dict[str, Any]:
    q, scale = drawn.quantity, scale_of(drawn)
    return {
        "name": q.name,
        "label": q.label,
        "about": q.about,
        "diverging": q.diverging,
        "lower": q.lower_is_better,
        "probability": q.probability,
        "switch": not q.kind.hover_only,
        "anchor": scale.anchor,
        "anchorLabel": q.anchor_label,
        "best": scale.best,
        "worst": drawn.high if q.lower_is_better else drawn.low,
        "log": scale.logarithmic,
    }


def _streams(maps: list[HeadMap]) -> list[str]:
    """The streams that any of the maps has: not every quantity is known of every stream."""
    return sort_streams({panel.stream for drawn in maps for panel in drawn.panels})


def _panel_data(
    own: FeatureTable, maps: list[HeadMap], stream: str, *, detailed: bool
) -> dict[str, Any]:
    """One stream: its cells as parallel lists, in the order of layers, then heads.

    The cells are those of the first quantity that the stream has; quantities that it lacks have no
    numbers and an empty profile.
    """
    of_stream = [drawn.panel(stream) for drawn in maps]
    first: Panel = next(panel for panel in of_stream if panel is not None)
    row, column = np.nonzero(first.values.notna().to_numpy())  # (cells,)
    layers, heads = list(first.values.index), list(first.values.columns)
    whole = maps[0].site != "heads"
    where = [
        (first.stream, int(layers[r]), None if whole else int(heads[c]))
        for r, c in zip(row, column, strict=True)
    ]

    def cells(rows: pd.DataFrame, of: str = "value") -> Numbers:
        grid = layers_by_heads(pick(rows, stream=first.stream), of).reindex_like(first.values)
        return _rounded(grid.to_numpy()[row, column])

    data: dict[str, Any] = {
        "stream": first.stream,
        "layers": layers,
        "heads": [str(head) for head in heads],
        "row": row.tolist(),
        "column": column.tolist(),
        "rank": [maps[0].ranks.get(cell, 0) for cell in where],
        "strong": None,
        "values": [],
        "low": [],
        "high": [],
        "profiles": [],
    }
    if first.significant is not None:
        data["strong"] = first.significant.to_numpy()[row, column].astype(bool).tolist()
    for drawn, panel in zip(maps, of_stream, strict=True):
        rows = own.values(drawn.quantity.name)
        data["values"].append(cells(rows))
        if detailed:
            data["low"].append(cells(rows, "ci_low"))
            data["high"].append(cells(rows, "ci_high"))
            profile = pd.DataFrame() if panel is None else panel.profile
            aligned = profile.reindex(first.values.index)
            data["profiles"].append({c: _rounded(aligned[c]) for c in aligned})
    if detailed:
        accuracy = own.values(maps[0].quantity.name)
        data["n"] = cells(accuracy, "n")
        chosen_on = own.values(maps[0].quantity.name, split="validation")
        data["validation"] = cells(chosen_on)
        recalls = [m for m in distinct(own.rows, "metric") if m.startswith(RECALL)]
        data["recall"] = {m.removeprefix(RECALL): cells(own.values(m)) for m in recalls}
    return data


def _rounded(numbers: Any) -> Numbers:
    """Five significant digits; None where there is no number."""
    return [float(f"{v:.5g}") if np.isfinite(v) else None for v in np.asarray(numbers, dtype=float)]


def _plain(data: Any) -> Any:
    """NumPy scalars as Python's, numbers that JSON cannot hold as null, text as it is shown."""
    if isinstance(data, dict):
        return {shown(str(key)): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    if isinstance(data, np.generic):
        data = data.item()
    if isinstance(data, str):
        return shown(data)
    if isinstance(data, float) and not np.isfinite(data):
        return None
    return data
