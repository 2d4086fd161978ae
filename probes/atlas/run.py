"""What an atlas does, from top to bottom; ``atlas.json``, written last, makes it a finished one."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from probes.atlas.depth import depths
from probes.atlas.execute import Outcome, run_jobs
from probes.atlas.features import feature_lines
from probes.atlas.heads import head_table
from probes.atlas.identity import refuse_other_parts
from probes.atlas.plan import LeftOut, by_reason, make_plan
from probes.atlas.publish import publish_atlas
from probes.atlas.result import Atlas, probed_entries
from probes.config import AtlasConfig, RunConfig
from probes.core.environment import without_home
from probes.core.errors import UserError
from probes.models.handle import Handle
from probes.models.loading import open_model
from probes.results.atlas import RECORD
from probes.simplified.store import resolve

log = logging.getLogger(__name__)


def run_atlas(atlas: AtlasConfig, base: RunConfig, run_dir: Path) -> Path:
    """Probe every feature of the catalogue that suits the model; leave the atlas in ``run_dir``.

    Each corpus is an ordinary run in ``run_dir/corpora/<job>``. Finished ones are reused, so the
    same command goes on where it was interrupted.

    base: the settings of all jobs.

    Returns:
        The page, ``report.html``.

    Raises:
        UserError: the model cannot be opened, settings that an atlas cannot have, nothing in the
            catalogue suits the model, or parts in ``run_dir`` are finished with other settings.
    """
    start = time.perf_counter()
    created = datetime.now(UTC).isoformat(timespec="seconds")
    cache_dir = os.path.expanduser(base.cache_dir)
    model = resolve(base.model, cache_dir, base.trainer)
    handle = open_model(model, cache_dir=cache_dir)
    plan = make_plan(atlas, replace(base, model=model, cache_dir=cache_dir), handle)
    features = sum(len(job.features) for job in plan.jobs)
    tokens = sum(job.tokens for job in plan.jobs)
    corpora = f"{len(plan.jobs)} corpora, {tokens:,} tokens"
    log.info("atlas of %s: %d features of %s", handle.name, features, corpora)
    for reason, labels in by_reason(plan.left_out).items():
        log.info("left out: %s: %s", ", ".join(labels), reason)
    refuse_other_parts(plan.jobs, run_dir, handle)
    (run_dir / RECORD).unlink(missing_ok=True)
    outcomes = run_jobs(plan.jobs, run_dir, handle)
    failed = [_failed(outcome) for outcome in outcomes if outcome.error]
    made = make_atlas(
        outcomes,
        [*plan.left_out, *failed],
        handle,
        level=base.significance.level,
        created=created,
    )
    seconds = time.perf_counter() - start
    return publish_atlas(made, outcomes, handle, atlas, base, run_dir, seconds)


def make_atlas(
    outcomes: Sequence[Outcome],
    left_out: list[LeftOut],
    handle: Handle,
    *,
    level: float,
    created: str,
) -> Atlas:
    """Tables and depths of the finished jobs.

    Raises:
        UserError: no job is finished.
    """
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
        depths=depths(table, probed_entries(jobs)),
        left_out=left_out,
        jobs=jobs,
        created=created,
    )


def _failed(outcome: Outcome) -> LeftOut:
    job = outcome.job
    names = tuple(entry.name for entry in job.entries)
    return LeftOut(job.entries[0].corpus, tuple(job.features), names, outcome.error)
