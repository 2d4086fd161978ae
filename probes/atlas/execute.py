"""Running the jobs of an atlas one after another, so that it can stop and go on."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probes.analysis.runs import Run, load_run
from probes.atlas.plan import AtlasJob
from probes.config import RunConfig
from probes.core.errors import UserError

if TYPE_CHECKING:
    from probes.models.handle import Handle

log = logging.getLogger(__name__)

CORPORA = "corpora"
NO_MATTER = ("trainer", "logger", "cache_dir", "memory_budget", "atlas")
"""Keys of a config that change no result."""


@dataclass(frozen=True)
class Outcome:
    """What became of one job."""

    job: AtlasJob
    run: Run | None
    seconds: float
    reused: bool = False
    error: str = ""


def run_jobs(jobs: list[AtlasJob], run_dir: Path, handle: Handle) -> list[Outcome]:
    """Run what is not finished; a mistake in one job is written down and stops no other."""
    outcomes = []
    for number, job in enumerate(jobs, start=1):
        directory = run_dir / CORPORA / job.name
        what = f"job {number} of {len(jobs)}: {job.name} ({', '.join(job.features)})"
        finished = finished_run(job, directory, handle)
        if finished is not None:
            log.info("%s: finished before", what)
            outcomes.append(Outcome(job, finished, _spent(finished), reused=True))
            continue
        log.info("%s", what)
        outcome = _run(job, directory)
        outcomes.append(outcome)
        if outcome.error:
            log.warning("%s left out: %s", job.name, outcome.error)
        else:
            log.info("  %.1f s", outcome.seconds)
    return outcomes


def finished_run(job: AtlasJob, directory: Path, handle: Handle) -> Run | None:
    """The run that lies in the job's directory if it is the one that would be made."""
    try:
        run = load_run(directory)
    except UserError:
        return None
    same = (
        run.record.model.fingerprint == handle.fingerprint
        and run.record.corpus.fingerprint == job.fingerprint
        and _that_matters(run.record.config) == _that_matters(_plain(job.config))
    )
    return run if same else None


def _run(job: AtlasJob, directory: Path) -> Outcome:
    from probes.pipeline.run import run

    # What an interrupted or other run left would stand beside the new files.
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    start = time.perf_counter()
    try:
        with quiet(directory / "log.txt"):
            run(copy.deepcopy(job.config), directory)
    except UserError as error:
        return Outcome(job, None, time.perf_counter() - start, error=str(error))
    return Outcome(job, load_run(directory), time.perf_counter() - start)


@contextlib.contextmanager
def quiet(path: Path) -> Iterator[None]:
    """What a run prints and logs goes to a file: dozens of maps are no progress report."""
    package = logging.getLogger("probes")
    consoles = [
        (handler, handler.level)
        for handler in package.handlers
        if not isinstance(handler, logging.FileHandler)
    ]
    own = logging.FileHandler(path, encoding="utf-8")
    own.setFormatter(logging.Formatter("%(message)s"))
    propagate = package.propagate
    with path.open("a", encoding="utf-8") as file, contextlib.redirect_stdout(file):
        for handler, _ in consoles:
            handler.setLevel(logging.ERROR)
        package.addHandler(own)
        package.propagate = False
        try:
            yield
        finally:
            package.removeHandler(own)
            own.close()
            package.propagate = propagate
            for handler, level in consoles:
                handler.setLevel(level)


def _spent(run: Run) -> float:
    parts = ("extract_seconds", "fit_seconds", "report_seconds")
    return float(sum(run.record.timings.get(part, 0.0) for part in parts))


def _plain(config: RunConfig) -> dict[str, Any]:
    from probes.pipeline.recorder import Ledger

    return Ledger(config).plain_config()


def _that_matters(config: dict[str, Any]) -> Any:
    kept = {key: value for key, value in config.items() if key not in NO_MATTER}
    return json.loads(json.dumps(kept, default=str, sort_keys=True))
