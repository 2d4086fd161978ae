"""``sweep.html``: a line for each job and feature, and all maps side by side.

Jobs that failed are listed with their error, jobs without results as unfinished.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from probes.reporting.head_map import head_map
from probes.reporting.page.pagedata import colour_data, feature_data
from probes.reporting.page.report import render_page
from probes.results.feature_table import UNIT, FeatureTable
from probes.results.summary import Estimate, baselines, best_estimate
from probes.results.table import features
from probes.sweeps.jobs import Job, swept_keys

MAX_MAPS = 400
"""Small multiples on one page; a larger sweep has the rest in its table."""


@dataclass(frozen=True)
class Line:
    """A line of the table at the top: one feature of a job, or a job without results."""

    job: str
    settings: list[str]
    """Values of the swept keys."""
    status: str
    error: str | None = None
    feature: str = ""
    best: Estimate = field(default_factory=lambda: Estimate(None))
    where: str = ""
    cells: dict[str, float | None] = field(default_factory=dict)
    """Accuracy of each comparator, by its label."""
    caveats: tuple[str, ...] = ()
    """What the job's own report says of this feature before its numbers are used."""
    page: str = ""
    """Of an atlas: its report, which has its maps."""


@dataclass(frozen=True)
class SmallMap:
    """One of the maps side by side."""

    feature: str
    index: int
    """Of its data."""
    job: str
    best: Estimate
    caption: str
    where: str


def sweep_page(jobs: Sequence[Job], *, title: str, level: float = 0.05) -> str:
    """The page: a line for each job and feature, then every map, grouped by feature.

    level: false discovery rate of the marks on the maps.
    """
    keys = swept_keys(jobs)
    lines: list[Line] = []
    maps: list[SmallMap] = []
    data: list[dict[str, Any]] = []
    for job in jobs:
        settings = [job.overrides.get(key, "–") for key in keys]
        line = Line(job.name, settings, job.status, job.error)
        try:
            own_lines, own_maps = _job_lines(job, line, keys, level)
        except Exception as problem:  # results of an odd kind: the other jobs are still drawn
            lines.append(replace(line, status="failed", error=f"cannot be drawn: {problem!r}"))
            continue
        lines += own_lines
        for small, drawn in own_maps[: MAX_MAPS - len(data)]:
            maps.append(replace(small, index=len(data)))
            data.append(drawn)
    _share_scales(data)
    without_results = sum(job.status != "finished" for job in jobs)
    return render_page(
        "sweep.html.j2",
        title=title,
        data={"colours": colour_data(), "features": data},
        subtitle=f"{len(jobs)} jobs"
        + (f", {without_results} of them without results" if without_results else ""),
        keys=keys,
        columns=list(dict.fromkeys(name for line in lines for name in line.cells)),
        rows=lines,
        groups={
            feature: [small for small in maps if small.feature == feature]
            for feature in dict.fromkeys(small.feature for small in maps)
        },
        caveats=_caveats(lines),
        left_out=sum(bool(line.feature) and not line.page for line in lines) - len(maps),
    )


def _job_lines(
    job: Job, line: Line, keys: Sequence[str], level: float
) -> tuple[list[Line], list[tuple[SmallMap, dict[str, Any]]]]:
    """A job's lines of the table, and its maps with their data."""
    if job.atlas is not None:
        line = replace(line, feature="atlas", where=_atlas_line(job.atlas), page=job.page)
    if job.results is None:
        return [line], []
    caption = ", ".join(f"{k}={v}" for k, v in zip(keys, line.settings, strict=True))
    lines, maps = [], []
    for feature in features(job.results):
        own = FeatureTable.of(job.results, feature)
        best, where = best_estimate(own), head_map(own, level=level).best_place
        cells = {b.comparator.label: b.estimate.value for b in baselines(own)}
        lines.append(
            replace(
                line,
                feature=feature,
                best=best,
                where=where,
                cells=cells,
                caveats=_caveats_of(job, feature),
            )
        )
        small = SmallMap(feature, 0, job.name, best, caption, where)
        classes = _classes(job, feature)
        maps.append((small, feature_data(own, level=level, classes=classes, only="accuracy")))
    return lines, maps


def _caveats_of(job: Job, feature: str) -> tuple[str, ...]:
    """Those of a job's caveats that are about a feature: they begin with its name."""
    if job.record is None:
        return ()
    return tuple(
        text for text in job.record.caveats if text.startswith((f"{feature}:", f"{feature} ("))
    )


def _caveats(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """Each caveat of the sweep once, with the jobs that it is about."""
    jobs: dict[str, list[str]] = {}
    for line in lines:
        for text in line.caveats:
            jobs.setdefault(text, []).append(line.job)
    return [
        (("job " if len(names) == 1 else "jobs ") + ", ".join(dict.fromkeys(names)), text)
        for text, names in jobs.items()
    ]


def _atlas_line(atlas: pd.DataFrame) -> str:
    """How much was found, in a few words."""
    carried = atlas[atlas["significant"]]
    feature = ["job", "feature"]
    return (
        f"{len(carried[UNIT].drop_duplicates())} of {len(atlas[UNIT].drop_duplicates())} heads "
        f"carry something, of {len(atlas[feature].drop_duplicates())} features "
        f"{len(carried[feature].drop_duplicates())} are carried"
    )


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
