"""``sweep.html``: a line for each job and feature, and all maps side by side.

Jobs that failed are listed with their error, jobs without results as unfinished.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from probes.reporting.head_map import head_map
from probes.reporting.page.pagedata import colour_data, feature_data
from probes.reporting.page.report import render
from probes.results.feature_table import FeatureTable
from probes.results.summary import Estimate, baselines, best_estimate
from probes.results.table import features
from probes.sweeps.jobs import Job, swept_keys

MAX_MAPS = 400
"""Small multiples on one page; a larger sweep has the rest in its table."""


def sweep_page(jobs: Sequence[Job], *, title: str, level: float = 0.05) -> str:
    """The page: a line for each job and feature, then every map, grouped by feature."""
    keys = swept_keys(jobs)
    rows: list[dict[str, Any]] = []
    maps: list[dict[str, Any]] = []
    data: list[dict[str, Any]] = []
    for job in jobs:
        settings = [job.overrides.get(key, "–") for key in keys]
        base = {"job": job.name, "settings": settings, "status": job.status, "error": job.error}
        if job.results is None:
            rows.append({**base, "feature": "", "best": Estimate(None), "where": "", "cells": {}})
            if job.atlas is not None:
                rows[-1] |= {"feature": "atlas", "where": _atlas_line(job.atlas), "page": job.page}
            continue
        for feature in features(job.results):
            own = FeatureTable.of(job.results, feature)
            drawn = head_map(own, level=level)
            best = best_estimate(own)
            cells = {b.comparator.label: b.estimate.value for b in baselines(own)}
            where = drawn.best_place
            rows.append({**base, "feature": feature, "best": best, "where": where, "cells": cells})
            if len(data) < MAX_MAPS:
                captions = [f"{k}={v}" for k, v in zip(keys, settings, strict=True)]
                maps.append(
                    {"feature": feature, "index": len(data), "job": job.name, "best": best,
                     "caption": ", ".join(captions), "where": where}
                )  # fmt: skip
                classes = _classes(job, feature)
                data.append(feature_data(own, level=level, classes=classes, only="accuracy"))
    _share_scales(data)
    failed = sum(job.status != "finished" for job in jobs)
    summary = f"{len(jobs)} jobs" + (f", {failed} of them without results" if failed else "")
    return render(
        "sweep.html.j2",
        title=title,
        data={"colours": colour_data(), "features": data},
        subtitle=summary,
        keys=keys,
        columns=list(dict.fromkeys(name for row in rows for name in row["cells"])),
        rows=rows,
        groups={
            feature: [m for m in maps if m["feature"] == feature]
            for feature in dict.fromkeys(m["feature"] for m in maps)
        },
        left_out=sum(row["feature"] != "" and "page" not in row for row in rows) - len(maps),
    )


def _atlas_line(atlas: pd.DataFrame) -> str:
    """How much was found, in a few words."""
    found = atlas[atlas["significant"]]
    place, feature = ["stream", "layer", "head"], ["job", "feature"]
    return (
        f"{len(found[place].drop_duplicates())} of {len(atlas[place].drop_duplicates())} heads "
        f"carry something, of {len(atlas[feature].drop_duplicates())} features "
        f"{len(found[feature].drop_duplicates())} are carried"
    )


def _share_scales(data: list[dict[str, Any]]) -> None:
    """One scale for all maps of a feature, up to the best head of any job."""
    drawn = [(one["name"], q) for one in data for q in one["quantities"]]
    for feature in {name for name, _ in drawn}:
        scales = [q for name, q in drawn if name == feature]
        best = max(q["best"] for q in scales)
        for q in scales:
            q["best"] = best


def _classes(job: Job, feature: str) -> int:
    task = job.record.tasks.get(feature) if job.record else None
    return len(task.classes) if task else 2
