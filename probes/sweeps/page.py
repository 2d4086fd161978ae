"""``sweep.html``: the best jobs, a line for each job and feature, what each swept key does, and all
maps side by side.

Jobs that failed are listed with their error, jobs without results as unfinished.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from probes.core.shown_progress import in_words
from probes.reporting.page.pagedata import colour_data, feature_data
from probes.reporting.page.report import render_page
from probes.results.feature_table import FeatureTable
from probes.results.summary import Estimate
from probes.sweeps.best import best_lines, choice_caveats
from probes.sweeps.effects import FEW, Point, effects
from probes.sweeps.filters import filters_of, marks_of
from probes.sweeps.jobs import IN_USE, Job, swept_keys
from probes.sweeps.lines import ATLAS, Line, line_of, lines_of

MAX_MAPS = 240
"""Small multiples on one page; a larger sweep has the rest in its table."""
MOST_DIFFERENCES = 12
"""Differences of a key that are listed beside its drawing."""


@dataclass(frozen=True)
class SmallMap:
    """One of the maps side by side."""

    feature: str
    index: int
    """Of its data."""
    job: str
    label: str
    best: Estimate
    caption: str
    where: str
    page: str


def sweep_page(jobs: Sequence[Job], *, title: str, level: float = 0.05) -> str:
    """The page: a line for each job and feature, then every map, grouped by feature.

    level: false discovery rate of the marks on the maps.
    """
    keys = swept_keys(jobs)
    lines: list[Line] = []
    maps: list[SmallMap] = []
    data: list[dict[str, Any]] = []
    for job in jobs:
        line = line_of(job, keys)
        try:
            own_lines = lines_of(job, line)
            drawn = _job_maps(job, own_lines, keys, level) if len(data) < MAX_MAPS else []
        except Exception as problem:  # results of an odd kind: the other jobs are still drawn
            lines.append(replace(line, status="failed", error=f"cannot be drawn: {problem!r}"))
            continue
        lines += own_lines
        for small, content in drawn[: MAX_MAPS - len(data)]:
            maps.append(replace(small, index=len(data)))
            data.append(content)
    _share_scales(data)
    filters = filters_of(keys, lines)
    marks = [marks_of(filters, keys, line) for line in lines]
    marks_by_map = {(line.job, line.feature): own for line, own in zip(lines, marks, strict=True)}
    best = best_lines(lines)
    every = effects(keys, _points(lines))
    return render_page(
        "sweep.html.j2",
        title=title,
        data={
            "colours": colour_data(),
            "features": data,
            "filters": [asdict(filter) for filter in filters],
            "effects": [asdict(effect) for effect in every],
        },
        scripts=("map.js", "sweep.js"),
        subtitle=_subtitle(jobs),
        units=list(dict.fromkeys(line.unit for line in lines if line.feature)) or ["head"],
        keys=keys,
        columns=list(dict.fromkeys(name for line in lines for name in line.cells)),
        rows=list(zip(lines, marks, strict=True)),
        best=best,
        effects=every,
        few=FEW,
        shown=MOST_DIFFERENCES,
        groups={
            feature: [(m, marks_by_map[m.job, feature]) for m in maps if m.feature == feature]
            for feature in dict.fromkeys(m.feature for m in maps)
        },
        caveats=[*choice_caveats(best, lines), *_caveats(lines)],
        left_out=sum(bool(line.feature) and line.feature != ATLAS for line in lines) - len(maps),
    )


def _subtitle(jobs: Sequence[Job]) -> str:
    in_use = sum(job.status == IN_USE for job in jobs)
    without_results = sum(job.status not in ("finished", IN_USE) for job in jobs)
    seconds = [job.seconds for job in jobs if job.seconds is not None]
    text = f"{len(jobs)} jobs"
    if without_results:
        text += f", {without_results} of them without results"
    if in_use:
        text += f", {in_use} of them in use by a process"
    return f"{text}, {in_words(sum(seconds))} of work" if seconds else text


def _job_maps(
    job: Job, lines: Sequence[Line], keys: Sequence[str], level: float
) -> list[tuple[SmallMap, dict[str, Any]]]:
    """A job's maps with their data."""
    if job.results is None:
        return []
    maps = []
    for line in lines:
        own = FeatureTable.of(job.results, line.feature)
        caption = ", ".join(f"{k}={v}" for k, v in zip(keys, line.settings, strict=True))
        small = SmallMap(
            line.feature, 0, line.job, line.label, line.best, caption, line.where, line.page
        )
        classes = _classes(job, line.feature)
        maps.append((small, feature_data(own, level=level, classes=classes, only=own.metric)))
    return maps


def _caveats(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """Each caveat of the sweep once, with the jobs that it is about."""
    jobs: dict[str, list[str]] = {}
    for line in lines:
        for text in line.caveats:
            jobs.setdefault(text, []).append(line.label)
    return [
        (("job " if len(names) == 1 else "jobs ") + ", ".join(dict.fromkeys(names)), text)
        for text, names in jobs.items()
    ]


def _share_scales(data: list[dict[str, Any]]) -> None:
    """One scale for all maps of a feature, up to the best head of any job."""
    quantities = [(feature["name"], drawn) for feature in data for drawn in feature["quantities"]]
    for feature in {name for name, _ in quantities}:
        same = [drawn for name, drawn in quantities if name == feature]
        best = max(drawn["best"] for drawn in same)
        for drawn in same:
            drawn["best"] = best


def _classes(job: Job, feature: str) -> int:
    task = job.record.tasks.get(feature) if job.record else None
    return len(task.classes) if task else 2


def _points(lines: Sequence[Line]) -> dict[str, list[Point]]:
    """What the best heads of the jobs reach, by feature."""
    points: dict[str, list[Point]] = {}
    for line in lines:
        if line.best.value is not None:
            points.setdefault(line.feature, []).append((tuple(line.settings), line.best.value))
    return points
