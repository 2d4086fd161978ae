"""A sweep as one table and one page: all results with the swept keys, all maps side by side.

Jobs that failed are listed with their error; jobs that left nothing are listed as unfinished.
Neither stops the others from being reported.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from probes.core.errors import ERROR_FILE, UserError
from probes.reporting.html import render
from probes.reporting.pagedata import colour_data, feature_data
from probes.reporting.summary import Estimate, baselines, best_estimate
from probes.reporting.view import head_map
from probes.results.atlas import is_atlas, load_atlas
from probes.results.record import RunRecord, read_record
from probes.results.table import COLUMNS, features, read_results
from probes.sweeps.emergence import emergences, save_emergence

MAX_MAPS = 400
"""Small multiples on one page; a larger sweep has the rest in its table."""


@dataclass(frozen=True)
class Job:
    """One job of a sweep, finished or not."""

    name: str
    """Name of its directory: its number, unless the sweep says otherwise."""
    overrides: dict[str, str]
    """What its command line set, by key."""
    results: pd.DataFrame | None
    record: RunRecord | None
    error: str | None
    atlas: pd.DataFrame | None = None
    """Of a job that made an atlas: its table of all heads and features (``atlas.csv``)."""
    page: str = ""
    """Its report, from the sweep's directory."""
    begun: float = 0.0
    """When it was last begun, in seconds since the epoch."""

    @property
    def status(self) -> str:
        """finished, failed or unfinished."""
        if self.error is not None:
            return "failed"
        return "unfinished" if self.results is None and self.atlas is None else "finished"


def read_job(directory: Path) -> Job:
    """Read one job directory, whatever state it is in."""
    overrides = _overrides(directory / ".hydra" / "overrides.yaml")
    error = _error(directory / ERROR_FILE)
    results, record, atlas = None, None, None
    try:
        if error is None and (directory / "run.json").is_file():
            record = read_record(directory / "run.json")
            results = read_results(directory / "results.csv")
        elif error is None and is_atlas(directory):
            atlas = load_atlas(directory).table
    except UserError as damaged:
        results, error = None, str(damaged)
    page = f"{directory.name}/report.html"
    begun = (directory / ".hydra").stat().st_mtime
    return Job(directory.name, overrides, results, record, error, atlas, page, begun)


def read_sweep(directory: str | os.PathLike[str]) -> list[Job]:
    """All jobs of a sweep, in the order of their numbers."""
    directory = Path(directory)
    # A job's files may lie deeper than one level, where hydra.sweep.subdir says so.
    jobs = [found.parent for found in directory.glob("**/.hydra") if found.parent != directory]
    jobs.sort(
        key=lambda path: (len(path.name), path.name) if path.name.isdigit() else (99, str(path))
    )
    return [read_job(path) for path in jobs]


def swept_keys(jobs: Sequence[Job]) -> list[str]:
    """Keys whose value differs between jobs (of a single job: all it set)."""
    keys = list(dict.fromkeys(key for job in jobs for key in job.overrides))
    if len(jobs) == 1:
        return keys
    return [key for key in keys if len({job.overrides.get(key) for job in jobs}) > 1]


def sweep_table(jobs: Sequence[Job]) -> pd.DataFrame:
    """The results of all jobs: ``job``, the swept keys, ``status``, ``error``, then the results.

    A job without results has one row with its status and error.
    """
    keys = swept_keys(jobs)
    parts = []
    for job in jobs:
        known = (one for one in (job.results, job.atlas) if one is not None)
        part = next(known, pd.DataFrame([{}], columns=COLUMNS))
        part = part.astype(object).copy()
        names = {"job": job.name, **{key: job.overrides.get(key, "") for key in keys}}
        names |= {"status": job.status, "error": job.error or ""}
        for position, (name, value) in enumerate(names.items()):
            # A swept key may be called like a column of the results (probe, seed).
            label = name if name not in part.columns else f"override.{name}"
            part.insert(position, label, value)
        parts.append(part)
    if not parts:
        return pd.DataFrame(columns=["job", "status", "error", *COLUMNS])
    return pd.concat(parts, ignore_index=True)


def write_sweep(directory: str | os.PathLike[str], *, level: float = 0.05) -> list[Job]:
    """Write ``sweep.csv`` and ``sweep.html`` beside the jobs; returns the jobs.

    A sweep over the steps of a training also gets ``emergence/<feature>.png`` (and ``.svg``).
    """
    directory = Path(directory)
    jobs = read_sweep(directory)
    _write(directory / "sweep.csv", sweep_table(jobs).to_csv(index=False, float_format="%.8g"))
    _write(directory / "sweep.html", sweep_page(jobs, title=_title(directory), level=level))
    save_emergence(emergences(jobs, swept_keys(jobs)), directory / "emergence")
    return jobs


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
            drawn = head_map(job.results, feature, level=level)
            best = best_estimate(job.results, feature)
            cells = {b.short: b.estimate.value for b in baselines(job.results, feature)}
            where = drawn.best_place
            rows.append({**base, "feature": feature, "best": best, "where": where, "cells": cells})
            if len(data) < MAX_MAPS:
                captions = [f"{k}={v}" for k, v in zip(keys, settings, strict=True)]
                maps.append(
                    {"feature": feature, "index": len(data), "job": job.name, "best": best,
                     "caption": ", ".join(captions), "where": where}
                )  # fmt: skip
                classes = _classes(job, feature)
                data.append(
                    feature_data(
                        job.results, feature, level=level, classes=classes, only="accuracy"
                    )
                )
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


def _overrides(path: Path) -> dict[str, str]:
    """``key=value`` lines of a job by key; an override without ``=`` (a deletion) stays whole."""
    from omegaconf import OmegaConf

    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except Exception:  # a half-written file of a job that was killed: as if it had set nothing
        return {}
    lines = [str(line) for line in content] if isinstance(content, list) else []
    pairs = [line.partition("=") for line in lines]
    return {key.lstrip("+"): value for key, _, value in pairs}


def _error(path: Path) -> str | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return str(content["error"])
    except (OSError, ValueError, KeyError, TypeError):
        return "failed; its error could not be read"


def _classes(job: Job, feature: str) -> int:
    task = job.record.tasks.get(feature) if job.record else None
    return len(task.classes) if task else 2


def _title(directory: Path) -> str:
    resolved = directory.resolve()
    return f"Sweep {resolved.parent.name} {resolved.name}"


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
