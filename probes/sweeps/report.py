"""What a sweep has come to: its jobs, written as ``sweep.csv`` and ``sweep.html`` beside them.

Jobs that failed are listed with their error, jobs without results as unfinished; neither stops the
others from being reported.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from probes.core.claims import TRY_LATER
from probes.core.errors import UserError
from probes.core.files import write_atomically
from probes.sweeps.emergence import emergences, save_emergence
from probes.sweeps.jobs import IN_USE, Job, read_sweep, swept_keys
from probes.sweeps.page import sweep_page
from probes.sweeps.progress import PAGE
from probes.sweeps.table import write_table

TABLE = "sweep.csv"
LEVEL = 0.05
"""False discovery rate of the page's marks where no job's configuration has one."""


@dataclass(frozen=True)
class SweepReport:
    """A report that was written, and the jobs in it."""

    directory: Path
    jobs: list[Job]
    refused: Mapping[str, str] = field(default_factory=dict)
    """Messages by job of those that found another's finished directory."""

    @property
    def page(self) -> Path:
        """``sweep.html``."""
        return self.directory / PAGE

    def begun_since(self, moment: float) -> SweepReport:
        """Only the jobs that were started at this moment (seconds since the epoch) or later.

        Where several multiruns share a directory, as those of atlases do, these are one's own.
        """
        return replace(self, jobs=[job for job in self.jobs if job.begun >= moment])

    def of(self, directories: Collection[Path]) -> SweepReport:
        """Only the jobs in these directories."""
        names = {os.path.relpath(path, self.directory) for path in directories}
        return replace(self, jobs=[j for j in self.jobs if os.path.dirname(j.page) in names])

    @property
    def without_results(self) -> list[Job]:
        """Jobs that failed or are unfinished."""
        return [job for job in self.jobs if job.status not in ("finished", IN_USE)]

    @property
    def in_use(self) -> list[Job]:
        """Jobs that a process is at work on."""
        return [job for job in self.jobs if job.status == IN_USE]

    @property
    def finished(self) -> list[Job]:
        """Jobs with results."""
        return [job for job in self.jobs if job.status == "finished"]

    @property
    def exit_status(self) -> int:
        """0 when all jobs are finished, 2 where one failed: its error is in its directory.

        ``TRY_LATER`` where none failed, and another process is still at work on some.
        """
        if self.without_results or self.refused:
            return 2
        return TRY_LATER if self.in_use else 0


def write_sweep_report(
    directory: str | os.PathLike[str],
    *,
    level: float | None = None,
    users: Mapping[str, str] | None = None,
) -> SweepReport:
    """Write ``sweep.csv`` and ``sweep.html`` beside the jobs of a sweep, at any time.

    A sweep over the steps of a training also gets ``emergence/<feature>.png`` (and ``.svg``).

    level: false discovery rate of the marks on the page; None: that of the first finished job.
    users: by job, processes of other machines that were at work on it.

    Raises:
        UserError: there is no such directory.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory", fix="the directory of a sweep")
    jobs = read_sweep(directory, users)
    level = _level(jobs) if level is None else level
    page = sweep_page(jobs, title=_title(directory), level=level)
    # Shared: multiruns that have one directory, as those of atlases do, may end at the same time.
    write_table(jobs, directory / TABLE)
    write_atomically(directory / PAGE, page, shared=True)
    save_emergence(emergences(jobs, swept_keys(jobs)), directory / "emergence")
    return SweepReport(directory, jobs)


def _level(jobs: Sequence[Job]) -> float:
    """``significance.level`` of the first job that has one."""
    for job in jobs:
        significance = job.record.config.get("significance") if job.record else None
        if isinstance(significance, dict) and "level" in significance:
            return float(significance["level"])
    return LEVEL


def _title(directory: Path) -> str:
    resolved = directory.resolve()
    return f"Sweep {resolved.parent.name} {resolved.name}"
