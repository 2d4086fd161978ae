"""How far the jobs of a sweep have come: one line when one ends, and one now and then between."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from probes.core.claims import LOCK
from probes.core.errors import ERROR_FILE
from probes.core.shown_progress import in_words
from probes.results.record import is_finished

if TYPE_CHECKING:
    from probes.sweeps.plan import PlannedJob

log = logging.getLogger(__name__)

PAGE = "sweep.html"
POLL_SECONDS = 1.0
"""Between two looks at the directories of jobs that run in other processes."""
SILENT_SECONDS = 60.0
"""After which a line says that they still run."""


class SweepProgress:
    """Counts the jobs of a sweep that are run, and logs a line for each that ends."""

    def __init__(self, jobs: Sequence[PlannedJob], total: int) -> None:
        """jobs: those to be run. total: of the sweep, those that are done included."""
        self.total, self.began = total, time.monotonic()
        self._waiting = {job.directory.absolute(): job for job in jobs}
        self._count, self._said = len(jobs), time.monotonic()
        self._lock = threading.Lock()

    def ended(
        self,
        directory: Path,
        *,
        error: str = "",
        in_use: str = "",
        objective: float | None = None,
    ) -> bool:
        """Say that the job in a directory has ended; a second time nothing is said.

        error: how it failed. in_use: that another process is at work on it.

        Returns:
            Whether it is a job of the sweep, and not an extraction for several of them.
        """
        with self._lock:
            job = self._waiting.pop(directory.absolute(), None)
            self._said = time.monotonic()
        if job is None:
            return False
        what = f"job {job.number + 1} of {self.total}: {job.title}"
        if error:
            log.warning("%s: failed: %s%s", what, error, self._left())
        elif in_use:
            log.info("%s: left to another process: %s%s", what, in_use, self._left())
        elif objective is None:
            log.info("%s: done%s", what, self._left())
        else:
            log.info("%s: best on validation %.3f%s", what, objective, self._left())
        return True

    def _left(self) -> str:
        left, done = len(self._waiting), self._count - len(self._waiting)
        if not left:
            return f"; all in {in_words(self.elapsed)}"
        return f"; about {in_words(self.elapsed / max(done, 1) * left)} left"

    @property
    def elapsed(self) -> float:
        """Seconds since the first of them was begun."""
        return time.monotonic() - self.began

    def look(self) -> None:
        """Find jobs that other processes have ended, by what is in their directories."""
        for directory in list(self._waiting):
            error = directory / ERROR_FILE
            if error.is_file():
                self.ended(directory, error=error_text(error))
            elif is_finished(directory):
                self.ended(directory)
        self.heartbeat()

    def heartbeat(self) -> None:
        """Say how many jobs there are, where nothing was said for a while."""
        if time.monotonic() - self._said > SILENT_SECONDS:
            self._said = time.monotonic()
            running = sum((directory / LOCK).exists() for directory in self._waiting)
            done = self._count - len(self._waiting)
            log.info("%d of %d jobs done, %d running%s", done, self._count, running, self._left())


def error_text(path: Path) -> str:
    """The message in a job's ``error.json``."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["error"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "failed; its error could not be read"


unchanged: dict[Path, int] = {}
"""Sweeps of this process in which nothing was to be run, with the number of their jobs; 0 where
something was."""

planned: dict[Path, set[Path]] = {}
"""Directories of the jobs that a sweep of this process has planned, by its own."""

_current: list[SweepProgress] = []
"""The sweep whose jobs this process runs or waits for."""


def current() -> SweepProgress | None:
    """The progress that a job of this process is counted in; None in another process."""
    return _current[-1] if _current else None


@contextlib.contextmanager
def watched(progress: SweepProgress, *, elsewhere: bool) -> Iterator[None]:
    """Count the jobs that are run inside.

    elsewhere: they run in other processes, so that their directories are looked at.
    """
    _current.append(progress)
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(POLL_SECONDS):
            with contextlib.suppress(OSError):
                progress.look()

    thread = threading.Thread(target=watch, daemon=True)
    if elsewhere:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if elsewhere:
            thread.join()
            with contextlib.suppress(OSError):
                progress.look()
        _current.pop()
