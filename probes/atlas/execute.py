"""Runs the jobs of an atlas one after another; those that are finished are not run again."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from probes.analysis.runs import Run, load_run
from probes.atlas.plan import AtlasJob
from probes.core.errors import UserError
from probes.core.shown_progress import in_words
from probes.models.handle import Handle
from probes.pipeline import run as pipeline
from probes.pipeline.identity import gives_the_results_of
from probes.pipeline.sharded_fits import PARTS
from probes.results.record import is_finished

log = logging.getLogger(__name__)

CORPORA = "corpora"
"""Directory of the jobs' runs."""


@dataclass(frozen=True)
class Outcome:
    """How one job ended."""

    job: AtlasJob
    run: Run | None
    """None where it failed."""
    seconds: float
    reused: bool = False
    """Whether it was finished before."""
    error: str = ""


def run_jobs(jobs: list[AtlasJob], run_dir: Path, handle: Handle) -> list[Outcome]:
    """Run the jobs that are not finished; the error of one job is kept and stops no other.

    The time left is estimated by tokens, of the jobs that were run.
    """
    outcomes: list[Outcome] = []
    for number, job in enumerate(jobs, start=1):
        directory = run_dir / CORPORA / job.name
        what = f"job {number} of {len(jobs)}: {job.name} ({', '.join(job.features)})"
        finished = finished_run(job, directory, handle)
        if finished is not None:
            log.info("%s: finished before", what)
            outcomes.append(Outcome(job, finished, finished.record.seconds, reused=True))
            continue
        log.info("%s", what)
        outcome = _run(job, directory)
        outcomes.append(outcome)
        if outcome.error:
            log.warning("%s left out: %s", job.name, outcome.error)
        else:
            log.info("  %.1f s%s", outcome.seconds, time_left(outcomes, jobs[number:]))
    return outcomes


def time_left(outcomes: list[Outcome], waiting: list[AtlasJob]) -> str:
    """How long the waiting jobs may take; empty behind the last one."""
    ran = [outcome for outcome in outcomes if outcome.run is not None and not outcome.reused]
    rate = sum(outcome.seconds for outcome in ran) / sum(outcome.job.tokens for outcome in ran)
    seconds = rate * sum(job.tokens for job in waiting)
    return f", about {in_words(seconds)} left" if waiting else ""


def finished_run(job: AtlasJob, directory: Path, handle: Handle) -> Run | None:
    """The run in the job's directory, if the job would make the same; None otherwise."""
    try:
        run = load_run(directory)
    except UserError:
        return None
    same = (
        run.record.model.fingerprint == handle.fingerprint
        and run.record.corpus.fingerprint == job.fingerprint
        and gives_the_results_of(run.record, job.config)
    )
    return run if same else None


def _run(job: AtlasJob, directory: Path) -> Outcome:
    _make_room(directory)
    start = time.perf_counter()
    try:
        with quiet(directory / "log.txt"):
            pipeline.run(job.config, directory)
    except UserError as error:
        return Outcome(job, None, time.perf_counter() - start, error=str(error))
    return Outcome(job, load_run(directory), time.perf_counter() - start)


def _make_room(directory: Path) -> None:
    """An empty directory, but for what an interrupted run of the job has fitted.

    Of links the link goes, never what it leads to.
    """
    if directory.is_symlink():
        directory.unlink()
    if is_finished(directory):
        shutil.rmtree(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.iterdir():
        if path.name == PARTS:  # a run removes those of other settings itself
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextlib.contextmanager
def quiet(path: Path) -> Iterator[None]:
    """Send what is printed and logged inside to a file; only errors reach the console."""
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
