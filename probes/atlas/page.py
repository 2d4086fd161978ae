"""``report.html`` of an atlas: one self-contained page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import pandas as pd

from probes.atlas.features import FeatureLine
from probes.atlas.figures import depth_lines, draw_depth
from probes.atlas.heads import of_stage
from probes.atlas.result import Atlas
from probes.atlas.stages import StageMap, paled, stage_maps
from probes.atlas.words import caveats, how_made
from probes.catalogue import STAGES, Entry
from probes.core.files import write_atomically
from probes.reporting.drawing.figures import STYLE, readable
from probes.reporting.page.report import moment, render_page
from probes.results.feature_table import UNIT
from probes.results.record import model_title
from probes.results.summary import optional

SHOWN = 12
"""Features on a head's card and in its hover; ``atlas.csv`` has all."""
OPEN = 12
"""Layers whose cards are open at first."""


def write_page(atlas: Atlas, path: Path) -> Path:
    """Write the page; the same results give the same bytes."""
    maps = stage_maps(atlas.table, atlas.lines)
    carried = sum(line.significant > 0 for line in atlas.lines)
    heads = atlas.table[UNIT].drop_duplicates()
    any_head = atlas.table[atlas.table["significant"]][UNIT].drop_duplicates()
    text = render_page(
        "atlas.html.j2",
        scripts=("atlas.js",),
        title=f"Atlas of {model_title(atlas.model)}: what its heads carry",
        data={"stages": [_stage(stage_map, atlas.table, atlas.lines) for stage_map in maps]},
        subtitle=(
            f"{carried} of {len(atlas.lines)} features are carried by at least one head; "
            f"{len(any_head)} of {len(heads)} heads carry at least one · {atlas.kind}, "
            f"{len(atlas.jobs)} corpora · {moment(atlas.created)}"
        ),
        caveats=caveats(atlas.lines, atlas.kind),
        stages=[_section(stage_map, atlas.lines) for stage_map in maps],
        depth_picture=_picture(atlas),
        depth_lines=depth_lines(atlas.depths),
        layers=_cards(atlas.table, atlas.lines),
        features=[_feature(line) for line in atlas.lines],
        left_out=[
            {
                "corpus": out.corpus,
                "features": ", ".join(out.features),
                "entries": ", ".join(name.replace("_", " ") for name in out.entries),
                "reason": out.reason,
            }
            for out in atlas.left_out
        ],
        words=how_made(
            atlas.level,
            len(atlas.table),
            atlas.lines,
            sum(job.config.split.folds > 0 for job in atlas.jobs),
        ),
        footer="Made by headprobes. atlas.csv beside this page holds every head and feature, "
        "atlas.json what was run; corpora/ the ordinary report of each corpus.",
    )
    write_atomically(path, text)
    return path


def _section(stage_map: StageMap, lines: Sequence[FeatureLine]) -> dict[str, object]:
    of_stage = [line for line in lines if stage_map.stage in line.stages]
    chance = [line.label for line in of_stage if not line.significant]
    return {
        "title": f"{stage_map.stage}: {stage_map.name}",
        "line": f"{stage_map.carrying} of {len(stage_map.cells)} heads carry a feature of this "
        "stage.",
        "chance": ", ".join(chance),
    }


def _stage(
    stage_map: StageMap, table: pd.DataFrame, lines: Sequence[FeatureLine]
) -> dict[str, object]:
    """The data of the script: cells by stream, the legend, and the hover of each head."""
    labels = {(line.job, line.feature): line.label for line in lines}
    colours = {feature.number: feature.colour for feature in stage_map.features}
    mine = of_stage(table[table["significant"]], stage_map.stage)
    hover = {
        place: rows.sort_values("score", ascending=False, kind="stable")
        for place, rows in mine.groupby(UNIT, observed=True)
    }
    panels = []
    for stream in stage_map.streams:
        cells = []
        for cell in stage_map.cells:
            if cell.stream != stream:
                continue
            rows = hover.get((cell.stream, cell.layer, cell.head))
            cells.append(
                {
                    "layer": cell.layer,
                    "head": cell.head,
                    "number": cell.number,
                    "fill": paled(colours[cell.number], cell.score) if cell.number else None,
                    "features": [] if rows is None else _hover(rows, labels),
                }
            )
        panels.append({"stream": stream, "cells": cells})
    return {
        "title": f"{stage_map.stage}: {stage_map.name}",
        "panels": panels,
        "legend": [
            {"number": f.number, "label": f.label, "colour": f.colour, "heads": f.heads}
            for f in stage_map.features
        ],
    }


def _hover(rows: pd.DataFrame, labels: dict[tuple[str, str], str]) -> list[dict[str, object]]:
    return [
        {
            "label": labels[row["job"], row["feature"]],
            "score": round(float(row["score"]), 4),
            "value": round(float(row["value"]), 4),
            "majority": round(float(row["majority"]), 4),
        }
        for _, row in rows.head(SHOWN).iterrows()
    ]


def _cards(table: pd.DataFrame, lines: Sequence[FeatureLine]) -> list[dict[str, object]]:
    """The cards of each layer, first layers first."""
    by_name = {(line.job, line.feature): line for line in lines}
    several = table["stream"].nunique() > 1
    layers = []
    grouped = table.groupby(["stream", "layer"], observed=True, sort=True)
    for number, ((stream, layer), rows) in enumerate(grouped):
        cards = [
            _card(head, rows[rows["head"] == head], by_name)
            for head in sorted(rows["head"].astype(int).unique().tolist())
        ]
        title = f"{stream}, layer {layer}" if several else f"layer {layer}"
        layers.append(
            {
                "title": title,
                "open": number < OPEN,
                "carrying": sum(bool(card["features"]) for card in cards),
                "heads": len(cards),
                "cards": [card for card in cards if card["features"]],
                "empty": ", ".join(str(card["head"]) for card in cards if not card["features"]),
            }
        )
    return layers


def _card(
    head: int, rows: pd.DataFrame, by_name: dict[tuple[str, str], FeatureLine]
) -> dict[str, object]:
    carried = rows[rows["significant"]].sort_values("score", ascending=False, kind="stable")
    features = []
    for _, row in carried.head(SHOWN).iterrows():
        line = by_name[row["job"], row["feature"]]
        features.append(
            {
                "kinds": _kinds(line),
                "stages": line.stages,
                "label": line.label,
                "read_at": row["read_at"],
                "score": float(row["score"]),
                "value": float(row["value"]),
                "low": optional(row["ci_low"]),
                "high": optional(row["ci_high"]),
                "majority": float(row["majority"]),
                "control": optional(row["control"]),
                "q": float(row["q"]),
                "job": line.job,
            }
        )
    return {"head": head, "features": features, "more": len(carried) - len(features)}


def _feature(line: FeatureLine) -> dict[str, object]:
    return {
        "stages": [(stage, STAGES[stage]) for stage in line.stages],
        "kinds": _kinds(line),
        "label": line.label,
        "job": line.job,
        "read_at": line.entries[0].read_at,
        "classes": line.classes,
        "majority": line.majority,
        "words": line.words,
        "best": line.best,
        "where": line.where,
        "residual": line.residual,
        "significant": line.significant,
        "tested": line.tested,
        "papers": list(dict.fromkeys(_paper(entry) for entry in line.entries)),
    }


def _kinds(line: FeatureLine) -> str:
    return ", ".join(dict.fromkeys(entry.kind for entry in line.entries))


def _paper(entry: Entry) -> str:
    return f"{entry.paper}" + (f", arXiv {entry.paper.arxiv}" if entry.paper.arxiv else "")


def _picture(atlas: Atlas) -> str:
    """The depth figure as a data URI."""
    file = io.StringIO()
    with matplotlib.rc_context(STYLE):
        title = f"Stages over depth · {model_title(atlas.model)}"
        figure = readable(draw_depth(atlas.depths, title=title))
        figure.savefig(file, format="svg", metadata={"Date": None})
    encoded = base64.b64encode(file.getvalue().encode()).decode()
    return f"data:image/svg+xml;base64,{encoded}"
