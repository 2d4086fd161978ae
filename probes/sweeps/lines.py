"""The lines of a sweep's table: one for each job and feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from probes.core.errors import UserError
from probes.results.feature_table import UNIT, FeatureTable
from probes.results.summary import Estimate, baselines, best_estimate
from probes.results.table import features
from probes.sweeps.jobs import Job

ATLAS = "atlas"
"""In the place of a feature, in the line of a job that made an atlas."""


@dataclass(frozen=True)
class Line:
    """A line of the table: one feature of a job, or a job without results."""

    job: str
    label: str
    """Of the job, as short as it can be recognised."""
    settings: list[str]
    """Values of the swept keys."""
    status: str
    error: str | None = None
    feature: str = ""
    best: Estimate = field(default_factory=lambda: Estimate(None))
    validation: float | None = None
    """What the best head reaches there, by which jobs are chosen."""
    rows: int | None = None
    """Of the test, on which ``best`` rests."""
    where: str = ""
    unit: str = "head"
    """What has a number of its own there: ``head`` or ``layer``."""
    cells: dict[str, float | None] = field(default_factory=dict)
    """Accuracy of each comparator, by its label."""
    caveats: tuple[str, ...] = ()
    """What the job's own report says of this feature before its numbers are used."""
    page: str = ""
    """The job's report."""
    seconds: float | None = None


def line_of(job: Job, keys: Sequence[str]) -> Line:
    """A job's line before its results are looked at."""
    settings = [job.overrides.get(key, "–") for key in keys]
    page = job.page if job.status == "finished" else ""
    return Line(
        job.name, job.label, settings, job.status, job.remark, page=page, seconds=job.seconds
    )


def lines_of(job: Job, line: Line) -> list[Line]:
    """A job's lines of the table, from ``line_of`` it."""
    if job.atlas is not None:
        line = replace(line, feature=ATLAS, where=_atlas_line(job.atlas))
    if job.results is None:
        return [line]
    lines = []
    for feature in features(job.results):
        own = FeatureTable.of(job.results, feature)
        measured = own.values(own.metric, split="validation")["value"].dropna()
        rows = own.values(own.metric)["n"].dropna()
        lines.append(
            replace(
                line,
                feature=feature,
                best=best_estimate(own),
                validation=float(measured.max()) if len(measured) else None,
                rows=int(rows.iloc[0]) if len(rows) else None,
                where=_place(own),
                unit=own.subject.unit,
                cells={b.comparator.label: b.estimate.value for b in baselines(own)},
                caveats=_caveats_of(job, feature),
            )
        )
    return lines


def _place(own: FeatureTable) -> str:
    """Where the head is that is best on validation; a dash where none was chosen."""
    try:
        best = own.top(1).iloc[0]
    except UserError:
        return "–"
    stream = f"{best['stream']}, " if len(own.streams(own.metric)) > 1 else ""
    head = "" if pd.isna(best["head"]) else f", head {int(best['head'])}"
    return f"{stream}layer {int(best['layer'])}{head}"


def _caveats_of(job: Job, feature: str) -> tuple[str, ...]:
    """Those of a job's caveats that are about a feature: they begin with its name."""
    if job.record is None:
        return ()
    return tuple(
        text for text in job.record.caveats if text.startswith((f"{feature}:", f"{feature} ("))
    )


def _atlas_line(atlas: pd.DataFrame) -> str:
    """How much was found, in a few words."""
    carried = atlas[atlas["significant"]]
    feature = ["job", "feature"]
    return (
        f"{len(carried[UNIT].drop_duplicates())} of {len(atlas[UNIT].drop_duplicates())} heads "
        f"carry something, of {len(atlas[feature].drop_duplicates())} features "
        f"{len(carried[feature].drop_duplicates())} are carried"
    )
