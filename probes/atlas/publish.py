"""Everything that an atlas leaves: its table, figures and page, and ``atlas.json`` last."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from probes.atlas.execute import Outcome
from probes.atlas.figures import save_figures
from probes.atlas.page import write_page
from probes.atlas.result import Atlas
from probes.atlas.terminal import print_atlas
from probes.config import AtlasConfig, RunConfig
from probes.core.environment import without_home
from probes.core.files import sync_tree, write_atomically
from probes.core.version import __version__
from probes.models.handle import Handle
from probes.reporting.console import new_console
from probes.results.atlas import RECORD, SCHEMA, TABLE
from probes.results.integrity import file_digests, sealed
from probes.results.table import write_results

log = logging.getLogger(__name__)


def publish_atlas(
    atlas: Atlas,
    outcomes: Sequence[Outcome],
    handle: Handle,
    settings: AtlasConfig,
    base: RunConfig,
    run_dir: Path,
    seconds: float,
) -> Path:
    """Write the table, the figures and the page, then ``atlas.json``; print a summary.

    seconds: that the atlas has taken before.
    """
    start = time.perf_counter()
    write_results(atlas.table, run_dir / TABLE)
    save_figures(atlas, run_dir / "maps")
    page = write_page(atlas, run_dir / "report.html")
    spent = time.perf_counter() - start
    content = {
        **_record(atlas, handle),
        "timings": _timings(outcomes, report=spent, total=seconds + spent),
        "config": without_home({**dataclasses.asdict(base), "atlas": dataclasses.asdict(settings)}),
    }
    sync_tree(run_dir)
    plain = json.loads(json.dumps(content, default=str, allow_nan=False))
    write_json(sealed(plain, file_digests(run_dir, (TABLE,))), run_dir / RECORD)
    print_atlas(atlas, new_console())
    log.info("atlas: %s", page)
    return page


def write_json(content: Mapping[str, object], path: Path) -> None:
    """Write a JSON object for people and programs: complete or not at all."""
    text = json.dumps(content, indent=1, ensure_ascii=False, default=str, allow_nan=False)
    write_atomically(path, text + "\n")


def _record(atlas: Atlas, handle: Handle) -> dict[str, object]:
    """What the atlas is of, and what was found."""
    return {
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
        "depths": [group.to_json() for group in atlas.depths],
        "left_out": [dataclasses.asdict(out) for out in atlas.left_out],
    }


def _timings(outcomes: Sequence[Outcome], *, report: float, total: float) -> dict[str, object]:
    """Seconds of each job, of those that were not reused, of the report, and of everything."""
    fresh = sum(outcome.seconds for outcome in outcomes if not outcome.reused)
    return {
        "jobs": {outcome.job.name: round(outcome.seconds, 2) for outcome in outcomes},
        "reused": [outcome.job.name for outcome in outcomes if outcome.reused],
        "jobs_seconds": round(fresh, 2),
        "report_seconds": round(report, 2),
        "total_seconds": round(total, 2),
    }


def _layers(table: pd.DataFrame) -> dict[str, int]:
    """Layers of each stream."""
    last = table.groupby("stream", observed=True)["layer"].max()
    return {str(stream): int(layer) + 1 for stream, layer in last.items()}
