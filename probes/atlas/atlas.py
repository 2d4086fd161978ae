"""What an atlas does, from top to bottom; ``atlas.json`` is what makes it a finished one."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from probes.atlas.depth import Depths, depths
from probes.atlas.execute import Outcome, run_jobs
from probes.atlas.features import FeatureLine, feature_lines
from probes.atlas.heads import head_table
from probes.atlas.plan import AtlasJob, LeftOut, by_reason, make_plan
from probes.catalogue import Entry
from probes.config import RunConfig
from probes.core.environment import without_home
from probes.core.errors import UserError
from probes.core.files import write_atomically
from probes.core.process import heavy_imports
from probes.core.version import __version__
from probes.results.atlas import RECORD, SCHEMA, TABLE

if TYPE_CHECKING:
    from probes.models.handle import Handle

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Atlas:
    """Everything that is shown."""

    model: str
    kind: str
    level: float
    table: pd.DataFrame
    """Of ``head_table``."""
    lines: list[FeatureLine]
    depths: list[Depths]
    left_out: list[LeftOut]
    jobs: list[AtlasJob]
    created: str

    @property
    def entries(self) -> list[Entry]:
        """Of the catalogue, those that were probed."""
        return _entries(self.jobs)


def run_atlas(config: RunConfig, run_dir: Path) -> Path:
    """Probe every feature of the catalogue that suits the model; leave the atlas in ``run_dir``.

    Each corpus is an ordinary run in ``run_dir/corpora/<job>``. Finished ones are reused, so the
    same command goes on where it was interrupted.

    Raises:
        UserError: the model cannot be opened, settings that an atlas cannot have, or nothing in
            the catalogue suits the model.
    """
    start = time.perf_counter()
    created = datetime.now(UTC).isoformat(timespec="seconds")
    with heavy_imports():
        from probes.models.loading import open_model
        from probes.simplified.store import resolve

    (run_dir / RECORD).unlink(missing_ok=True)
    config.cache_dir = os.path.expanduser(config.cache_dir)
    config.model = resolve(config.model, config.cache_dir, config.trainer)
    handle = open_model(config.model)
    plan = make_plan(config, handle)
    log.info(
        "atlas of %s: %d features of %d corpora",
        handle.name,
        sum(len(job.features) for job in plan.jobs),
        len(plan.jobs),
    )
    for reason, labels in by_reason(plan.left_out).items():
        log.info("left out: %s: %s", ", ".join(labels), reason)
    outcomes = run_jobs(plan.jobs, run_dir, handle)
    failed = [_failed(outcome) for outcome in outcomes if outcome.error]
    atlas = make_atlas(config, handle, outcomes, [*plan.left_out, *failed], created)
    seconds = time.perf_counter() - start
    return publish_atlas(atlas, outcomes, handle, config, run_dir, seconds)


def make_atlas(
    config: RunConfig,
    handle: Handle,
    outcomes: list[Outcome],
    left_out: list[LeftOut],
    created: str,
) -> Atlas:
    """Tables and depths of the finished jobs; raises ``UserError`` where there is none."""

    level = config.significance.level
    table = head_table(outcomes, level=level)
    if table.empty:
        reasons = "; ".join(dict.fromkeys(f"{out.corpus}: {out.reason}" for out in left_out))
        raise UserError(
            f"nothing in the catalogue could be probed on {handle.name}: {reasons}",
            fix="another model, or atlas.corpora=null atlas.stages=null",
        )
    jobs = [outcome.job for outcome in outcomes if outcome.run is not None]
    return Atlas(
        model=without_home(handle.name),
        kind=handle.kind,
        level=level,
        table=table,
        lines=feature_lines(table, outcomes),
        depths=depths(table, _entries(jobs)),
        left_out=left_out,
        jobs=jobs,
        created=created,
    )


def publish_atlas(
    atlas: Atlas,
    outcomes: list[Outcome],
    handle: Handle,
    config: RunConfig,
    run_dir: Path,
    seconds: float,
) -> Path:
    """Write the table, the pictures and the page, then ``atlas.json``; print a summary."""
    from rich.console import Console

    from probes.atlas.figures import save_figures
    from probes.atlas.page import write_page
    from probes.atlas.terminal import print_atlas
    from probes.results.table import write_results

    start = time.perf_counter()
    write_results(atlas.table, run_dir / TABLE)
    save_figures(atlas, run_dir / "maps")
    page = write_page(atlas, run_dir / "report.html")
    spent = {outcome.job.name: round(outcome.seconds, 2) for outcome in outcomes}
    fresh = sum(outcome.seconds for outcome in outcomes if not outcome.reused)
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "version": __version__,
        "created": atlas.created,
        "model": {
            "name": atlas.model,
            "kind": atlas.kind,
            "fingerprint": handle.fingerprint,
            "layers": _layers(atlas.table),
        },
        "level": atlas.level,
        "jobs": [
            {
                "name": job.name,
                "corpus": job.entries[0].corpus,
                "features": job.features,
                "entries": [entry.name for entry in job.entries],
                "folds": job.config.split.folds,
            }
            for job in atlas.jobs
        ],
        "features": [
            {
                "job": line.job,
                "feature": line.feature,
                "stages": line.stages,
                "tested": line.tested,
                "significant": line.significant,
            }
            for line in atlas.lines
        ],
        "depths": [one.as_json() for one in atlas.depths],
        "left_out": [dataclasses.asdict(out) for out in atlas.left_out],
        "timings": {
            "jobs": spent,
            "reused": [outcome.job.name for outcome in outcomes if outcome.reused],
            "jobs_seconds": round(fresh, 2),
            "report_seconds": round(time.perf_counter() - start, 2),
            "total_seconds": round(seconds + time.perf_counter() - start, 2),
        },
        "config": without_home(dataclasses.asdict(config)),
    }
    write_json(record, run_dir / RECORD)
    print_atlas(atlas, Console(highlight=False))
    log.info("atlas: %s", page)
    return page


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write a JSON object for people and programs: complete or not at all."""
    text = json.dumps(content, indent=1, ensure_ascii=False, default=str, allow_nan=False)
    write_atomically(path, text + "\n")


def _entries(jobs: list[AtlasJob]) -> list[Entry]:
    """Each entry once; those of one kind have different names."""
    return list({entry.name: entry for job in jobs for entry in job.entries}.values())


def _failed(outcome: Outcome) -> LeftOut:
    job = outcome.job
    names = tuple(entry.name for entry in job.entries)
    return LeftOut(job.entries[0].corpus, tuple(job.features), names, outcome.error)


def _layers(table: pd.DataFrame) -> dict[str, int]:
    last = table.groupby("stream", observed=True)["layer"].max()
    return {str(stream): int(layer) + 1 for stream, layer in last.items()}
