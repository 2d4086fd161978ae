"""What Hydra calls when a job or a multirun ends.

Hydra turns whatever a callback raises into a warning, so nothing here can cost a job its results.
It makes the callback for every command, so the report, which needs pandas and matplotlib, is
imported only when there is one to write.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from probes.core.environment import text_without_home
from probes.core.errors import ERROR_FILE
from probes.core.files import paths_below, write_atomically
from probes.reporting.tracking.wandb_sync import sweep_sync_command
from probes.results.record import RECORD
from probes.sweeps.progress import PAGE, planned, unchanged
from probes.sweeps.refusals import take_refusals

if TYPE_CHECKING:
    from probes.sweeps.report import SweepReport

log = logging.getLogger(__name__)

SHOWN = 12
"""Jobs without results that are named at the end; each was told when it failed."""
CLOCKS = 120.0
"""Seconds by which the clocks of a cluster's nodes may differ."""


class SweepReports(list["SweepReport"]):
    """Reports of multiruns."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[OSError] = []
        """Why reports could not be written."""


_collected: ContextVar[SweepReports | None] = ContextVar("sweep_reports", default=None)


@contextlib.contextmanager
def sweep_reports() -> Iterator[SweepReports]:
    """The reports of the multiruns that end inside, as they are written.

    Hydra makes the callback itself and returns nothing of it: where a launcher runs the jobs in
    other processes, their failures are known to the command line from these reports only.
    """
    reports = SweepReports()
    token = _collected.set(reports)
    _running.clear()
    try:
        yield reports
    except KeyboardInterrupt:
        for callback, config in list(_running):  # Hydra does not end them
            with contextlib.suppress(Exception):
                callback.on_multirun_end(config)
        raise
    finally:
        _collected.reset(token)


_running: list[tuple[SweepCallback, DictConfig]] = []
"""Multiruns of this process that were begun and did not end."""


class SweepCallback(Callback):
    """Writes ``sweep.csv`` and ``sweep.html`` beside the jobs of a multirun."""

    def __init__(self) -> None:
        self.started = 0.0
        """When the multirun began; older jobs in the same directory are not its own."""

    def on_multirun_start(self, config: DictConfig, **kwargs: object) -> None:
        """Note the time, and make the sweep's directory."""
        self.started = time.time() - CLOCKS
        _running.append((self, config))
        # Jobs compose their configuration again, some of them in other processes: they get the
        # directory as an override, where a pattern of the time would give each its own.
        try:
            directory = str(config.hydra.sweep.dir)
        except OmegaConfBaseException:  # the launcher meets it again, and its error is reported
            return
        with open_dict(config.hydra):
            config.hydra.sweep.dir = directory
            quoted = directory.replace("\\", "\\\\").replace("'", "\\'")
            config.hydra.overrides.hydra.append(f"hydra.sweep.dir='{quoted}'")

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: object) -> None:
        """Write down the error of a job that ended in an exception, unless the job has done so."""
        if job_return.status is not JobStatus.FAILED or job_return.working_dir is None:
            return
        error = job_return._return_value
        path = Path(job_return.working_dir) / ERROR_FILE
        if path.parent.is_dir() and not path.exists():
            content = {"kind": type(error).__name__, "error": str(error) or repr(error)}
            write_atomically(path, json.dumps(content, indent=2), shared=True)

    def on_multirun_end(self, config: DictConfig, **kwargs: object) -> None:
        """Write the report, and name the jobs of this multirun that have no results.

        A disk that is full, which Hydra would turn into a warning, is left for the command line.
        """
        collected = _collected.get()
        try:
            report = self._report(config)
        except OSError as error:
            if collected is None:
                raise
            collected.errors.append(error)
            return
        if collected is not None and report is not None:
            collected.append(report)

    def _report(self, config: DictConfig) -> SweepReport | None:
        """The report, written; None where there is nothing new."""
        _running[:] = [running for running in _running if running[0] is not self]
        directory = Path(config.hydra.sweep.dir)
        _hide_home(directory / "multirun.yaml")
        own, jobs = planned.pop(directory, None), unchanged.pop(directory, 0)
        if jobs and _is_current(directory / PAGE):
            log.info("%d of %d jobs finished before; sweep: %s", jobs, jobs, directory / PAGE)
            return None
        from probes.sweeps.report import write_sweep_report

        level = config.get("significance", {}).get("level", 0.05)
        notes = take_refusals(directory, self.started)
        every = write_sweep_report(directory, level=float(level), users=notes.in_use)
        report = every.begun_since(self.started) if own is None else every.of(own)
        report = replace(report, refused=notes.refused)
        for name, message in notes.refused.items():
            log.warning("job %s refused: %s", name, message)
        missing = ", ".join(f"{job.name} ({job.status})" for job in report.without_results[:SHOWN])
        if len(report.without_results) > SHOWN:
            missing += ", ..."
        if missing:
            log.warning("without results: %s; their errors are on the page", missing)
        if report.in_use:
            names = ", ".join(job.label for job in report.in_use[:SHOWN])
            more = ", ..." if len(report.in_use) > SHOWN else ""
            log.warning(
                "in use by another process: %s%s; give the command again later", names, more
            )
        done, total = len(report.finished), len(report.jobs)
        log.info("%d of %d jobs finished; sweep: %s", done, total, report.page)
        if (command := sweep_sync_command(directory)) is not None:
            log.info("W&B: %s", command)
        return report


def _is_current(page: Path) -> bool:
    """Whether a sweep's page is younger than all of its results."""
    if not page.is_file():
        return False
    written = page.stat().st_mtime
    records = paths_below(page.parent, RECORD)
    return all(path.stat().st_mtime <= written for path in records if path.is_file())


def _hide_home(path: Path) -> None:
    """Write ``~`` for the user's home directory in a file that Hydra wrote."""
    if path.is_file():
        text = path.read_text(encoding="utf-8")
        if text != (hidden := text_without_home(text)):
            write_atomically(path, hidden, shared=True)
