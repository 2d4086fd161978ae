"""``report.html``: one self-contained page with every map of a run.

The page carries its data, styles and script; it opens offline, from a mail or inside W&B. Names
from users (features, classes, models) reach it as escaped text or as JSON that cannot end its
element, and a content security policy forbids anything from outside.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from probes.core.files import write_atomically
from probes.core.shown import shown
from probes.reporting.captions import chosen_label, evidence_label
from probes.reporting.head_map import HeadMap, head_map
from probes.reporting.page.agreement import agreement_panel, method_card
from probes.reporting.page.pagedata import colour_data, embed, feature_data
from probes.reporting.page.sentences import facts, how_made, selection_line, task_line
from probes.reporting.page.steering import steering_sections
from probes.results.feature_table import FeatureTable
from probes.results.method_maps import method_maps
from probes.results.record import RunRecord
from probes.results.subject import Subject
from probes.results.summary import Baseline, Estimate, baselines, best_estimate, optional
from probes.results.table import features, pick
from probes.results.vocabulary import METHODS
from probes.results.vocabulary.comparators import COMPARATORS, MATCHED
from probes.results.vocabulary.quantities import evidence_columns
from probes.results.vocabulary.sites import HEADS, of_units, unit_of
from probes.statistics.maps import MapEvidence

CLASSES_SHOWN = 30
WORD_NOT_TOKEN = {
    "previous_token": "The class is the previous word: where the tokenizer cuts words into several "
    "tokens, the token before may be a part of the same word.",
    "next_token": "The class is a word: where the tokenizer cuts words into several tokens, the "
    "next token may be only its beginning.",
}
"""Features whose usual names speak of tokens, while their classes are words."""
BESIDE = ("control_accuracy", "selectivity")
"""Metrics in the table of the best heads, beside their accuracy."""


@dataclass(frozen=True)
class SummaryRow:
    """A feature's line in the table at the top."""

    feature: str
    where: str
    best: Estimate
    cells: dict[str, str] = field(default_factory=dict)


def write_report(
    table: pd.DataFrame,
    record: RunRecord,
    path: str | os.PathLike[str],
    *,
    level: float = 0.05,
    maps: Sequence[MapEvidence] = (),
) -> Path:
    """Write the page of a run; the same results give the same bytes.

    maps: the evidence behind the maps, by which methods are compared; none: no such comparison.
    """
    own = {name: FeatureTable.of(table, name) for name in features(table)}
    drawn = {name: head_map(own[name], level=level) for name in own}
    against = {name: baselines(own[name]) for name in own}
    summaries = {name: _summary(own[name], drawn[name], against[name]) for name in own}
    columns = dict.fromkeys(column for row in summaries.values() for column in row.cells)
    names = ", ".join(drawn) if len(drawn) <= 4 else f"{len(drawn)} features"
    sections = [_feature_section(own[n], record, drawn[n], against[n]) for n in own]
    data = [feature_data(own[n], level=level, classes=_class_count(record, n)) for n in own]
    agreements: list[list[tuple[int, int]]] = []
    places = {(name, own[name].subject): number for number, name in enumerate(own)}
    for number, name in enumerate(own):
        sections[number]["index"] = number
        sections[number] |= _methods(table, own[name], places, maps, data, agreements, level=level)
    unit = Subject.of(table).unit
    page = render_page(
        "report.html.j2",
        title=f"{record.model.title}: which {unit}s carry {names}",
        unit=unit,
        data={
            "colours": colour_data(),
            "features": data,
            "agreements": agreements,
        },
        scripts=("map.js", "agreement.js") if agreements or len(data) > len(own) else ("map.js",),
        subtitle=f"{_methods_of(table)} on {record.corpus.name} · run of {moment(record.created)}",
        metric=_common([quantity.label for quantity in (one.quantity for one in drawn.values())]),
        summary=list(summaries.values()),
        summary_columns=list(columns),
        caveats=record.caveats,
        features=sections,
        steering=steering_sections(table, record),
        words=how_made(table, record),
        facts=facts(record),
        footer=f"Made by headprobes {record.version}. results.csv in the same directory holds "
        "every number; load_run() opens the run in Python.",
    )
    path = Path(path)
    write_atomically(path, page)
    return path


def render_page(
    template: str,
    *,
    title: str,
    data: dict[str, Any],
    scripts: Sequence[str] = ("map.js",),
    **content: Any,
) -> str:
    """A page from a template, with its style, its data, ``page.js`` and ``scripts`` inside."""
    environment = Environment(
        loader=PackageLoader("probes.reporting.page"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def read(name: str) -> str:
        return (files("probes.reporting.page") / "templates" / name).read_text(encoding="utf-8")

    return environment.get_template(template).render(
        title=title,
        data=embed(data),
        style=Markup(read("style.css")),
        script=Markup("\n".join(read(name) for name in ("page.js", *scripts))),
        **content,
    )


def _shown(value: Any) -> Any:
    """What an expression of a template gives; ``Markup`` is ours."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _summary(own: FeatureTable, drawn: HeadMap, against: list[Baseline]) -> SummaryRow:
    best = best_estimate(own)
    cells = {b.comparator.label: f"{b.estimate.value:.3f}" for b in against}
    if drawn.evidence:
        cells["significant"] = f"{drawn.passed} of {drawn.tested}"
    return SummaryRow(drawn.feature, drawn.best_place, best, cells)


def _methods(
    table: pd.DataFrame,
    own: FeatureTable,
    places: dict[tuple[str, Subject], int],
    maps: Sequence[MapEvidence],
    data: list[dict[str, Any]],
    agreements: list[list[tuple[int, int]]],
    *,
    level: float,
) -> dict[str, Any]:
    """What the section of a feature says of other methods; adds their maps to the page's data.

    places: of the maps among ``data``. data, agreements: of the page so far.
    """
    if own.site != HEADS:
        return {}
    tables = method_maps(table, own.feature)
    if len(tables) < 2:
        return {}
    cards = []
    for one in tables:
        index = places.setdefault((one.feature, one.subject), len(data))
        drawn = head_map(one, level=level)
        if index == len(data):
            data.append(feature_data(one, level=level, classes=2))
        columns, rows = _top(one, drawn)
        card = method_card(one, drawn, own.feature, level=level)
        data[index]["named"] = [f"{s} {layer}.{head}" for s, layer, head in card["named"]]
        card |= {"index": index, "legend": _legend(drawn), "top_columns": columns, "top": rows}
        cards.append(card)
    panel = agreement_panel(tables, maps, level=level)
    if panel is not None:
        panel["index"] = len(agreements)
        agreements.append([(cards[a]["index"], cards[b]["index"]) for a, b in panel["scatters"]])
    return {"methods": cards, "agreement": panel}


def _methods_of(table: pd.DataFrame) -> str:
    """The methods of a run as the first words of a sentence."""
    methods = [METHODS[m].label for m in METHODS if m in set(table["method"])]
    labels = ["probes" if label == "probe" else label for label in methods] or ["probes"]
    listed = ", ".join(labels)
    return listed[:1].upper() + listed[1:]


def _common(labels: Sequence[str]) -> str:
    """What all features are measured by, else a word for all of it."""
    return labels[0] if len(set(labels)) == 1 else "value"


def _feature_section(
    own: FeatureTable, record: RunRecord, drawn: HeadMap, against: list[Baseline]
) -> dict[str, Any]:
    task = record.tasks.get(drawn.feature)
    line = task_line(task, record.corpus.group_name) if task else ""
    columns, rows = _top(own, drawn)
    rest = max(0, len(task.classes) - CLASSES_SHOWN) if task else 0
    splits = [s for s in ("train", "validation", "test") if task and s in task.counts]
    classes = []
    if task and splits:
        order = sorted(range(len(task.classes)), key=lambda c: -task.counts[splits[0]][c])
        classes = [
            {"name": task.classes[c], "counts": [task.counts[s][c] for s in splits]}
            for c in order[:CLASSES_SHOWN]
        ]
    return {
        "name": drawn.feature,
        "index": 0,
        "metric": drawn.quantity.label,
        "unit": unit_of(drawn.site),
        "methods": [],
        "agreement": None,
        "line": f"{line} {WORD_NOT_TOKEN.get(drawn.feature, '')}".strip(),
        "legend": _legend(drawn),
        "selection": selection_line(
            record, drawn.feature, drawn.site, drawn.probe, drawn.method
        ),
        "top_columns": columns,
        "top": rows,
        "baselines": [
            {"name": of_units(b.comparator.title, own.site), "value": b.estimate.value,
             "low": b.estimate.low, "high": b.estimate.high, "gain": b.gain}
            for b in against
        ],
        "splits": splits,
        "classes": classes,
        "more_classes": rest,
    }  # fmt: skip


def _legend(drawn: HeadMap) -> str:
    what = unit_of(drawn.site)
    text = f"Framed, and numbered where there is room: the {what}s that are {chosen_label(drawn)}."
    if drawn.quantity.diverging:
        text += " Blue is above 0, orange below; both are as dark at the same size."
    if drawn.evidence:
        label = evidence_label(drawn).removeprefix("with ")
        text += (
            f" Small and pale: not {label}. {drawn.passed} of {drawn.tested} {what}s are."
            if drawn.passed
            else f" Small and pale: not {label}. No {what} of {drawn.tested} is."
        )
    return text + f" Point at a {what} for all its numbers."


def _top(own: FeatureTable, drawn: HeadMap) -> tuple[list[str], list[list[Any]]]:
    """Header and cells of the top-heads table."""
    if not drawn.ranks:
        return [], []
    top = own.top(5)
    columns = ["layer.head" if drawn.site == HEADS else "layer", "validation", "test"]
    more = [column for column in evidence_columns(signed=own.signed) if column in top][:2]
    more += [column for column in ("l2",) if column in top]
    beside = (COMPARATORS[MATCHED].gain,) if own.signed else BESIDE
    metrics = [name for name in beside if len(own.values(name))]
    rows = []
    for _, head in top.iterrows():
        where = f"{int(head['layer'])}" + ("" if pd.isna(head["head"]) else f".{int(head['head'])}")
        if len(drawn.panels) > 1:
            where = f"{head['stream']} {where}"
        row: list[Any] = [
            where,
            f"{head['validation']:.3f}",
            {"value": optional(head["test"]), "low": optional(head["ci_low"]),
             "high": optional(head["ci_high"])},
        ]  # fmt: skip
        unit = {"stream": head["stream"], "layer": head["layer"]}
        unit |= {"head": head["head"]} if pd.notna(head["head"]) else {}
        for name in metrics:
            value = pick(own.values(name), **unit)["value"]
            row.append(f"{value.iloc[0]:.3f}" if len(value) else "–")
        row += ["–" if pd.isna(head[column]) else f"{head[column]:.3g}" for column in more]
        rows.append(row)
    return columns + [own.kind(name).label for name in (*metrics, *more)], rows


def moment(created: str) -> str:
    """An ISO 8601 time to the minute, as a reader likes it; anything else as it stands."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return created
    return f"{moment:%Y-%m-%d %H:%M} {moment.tzname() or ''}".rstrip()


def _class_count(record: RunRecord, feature: str) -> int:
    task = record.tasks.get(feature)
    return len(task.classes) if task else 2
