"""Whether a finished atlas, or a finished part of one, is what is asked for again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from probes.atlas.execute import CORPORA, finished_run
from probes.atlas.plan import AtlasJob
from probes.config import AtlasConfig, RunConfig
from probes.core.claims import AlreadyFinished
from probes.core.errors import UserError
from probes.models.handle import Handle
from probes.pipeline.identity import same_settings
from probes.results.atlas import load_atlas
from probes.results.record import is_finished


def is_of_settings(directory: Path, atlas: AtlasConfig, base: RunConfig) -> bool:
    """Whether the finished atlas in ``directory`` was made with these settings.

    Raises:
        UserError: it is damaged.
    """
    record = load_atlas(directory).record
    config = record.get("config")
    if not isinstance(config, Mapping):
        return False
    layers = [
        (stream, layer) for stream, n in record["model"]["layers"].items() for layer in range(n)
    ]
    stored = {**dataclasses.asdict(AtlasConfig()), **(config.get("atlas") or {})}
    return stored == dataclasses.asdict(atlas) and same_settings(config, base, layers)


def refuse_other_parts(jobs: Sequence[AtlasJob], run_dir: Path, handle: Handle) -> None:
    """Leave finished parts of other settings, texts or another model where they are.

    A part that is damaged or unfinished may be made anew.

    Raises:
        AlreadyFinished: which parts; nothing has been changed.
    """
    others = []
    for job in jobs:
        directory = run_dir / CORPORA / job.name
        other = is_finished(directory) and finished_run(job, directory, handle) is None
        if other and not _damaged(directory):
            others.append(job.name)
    if others:
        raise AlreadyFinished(
            f"{run_dir}: {', '.join(others)} are finished, with other settings, other texts or "
            "another model",
            fix="another directory: hydra.run.dir=DIR, or hydra.sweep.dir=DIR of a sweep",
        )


def _damaged(directory: Path) -> bool:
    from probes.analysis.runs import load_run

    try:
        load_run(directory)
    except UserError:
        return True
    return False
