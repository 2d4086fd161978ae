"""How far long work has come: a bar on a terminal, elsewhere a line in the log now and then."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import Any

log = logging.getLogger(__name__)

LINE_SECONDS = 30.0
"""Between two lines where there is no terminal: a batch system's log stays short, and is never
silent for long."""
BAR = 12
"""Characters of a bar: with its label, numbers and time it fits 60 columns."""


class ShownProgress:
    """Shows the progress of work of a known amount, until its ``with`` block ends."""

    def __init__(self, label: str | None, total: float) -> None:
        """label: what is being done, such as ``extracting``; None shows nothing."""
        self.label, self.total, self.done = label, total, 0.0
        self._began = self._said = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> ShownProgress:
        if self.label is not None and sys.stderr.isatty():
            # Late: rich, which the modules that import this one do not need.
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn(self.label),
                BarColumn(bar_width=BAR),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(compact=True),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("", total=self.total, note="")
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def seconds(self) -> float:
        """Since the work began."""
        return max(time.monotonic() - self._began, 1e-9)

    def advance(self, amount: float, *, note: str = "", line: str = "") -> None:
        """Count work that is done.

        note: shown beside the bar, at most 20 characters. line: said in its place in a log, such as
        ``12 of 48 chunks``.
        """
        self.done += amount
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, note=note)
        elif self.label is not None and time.monotonic() - self._said >= LINE_SECONDS:
            self._said = time.monotonic()
            left = self.seconds * max(self.total - self.done, 0) / max(self.done, 1e-9)
            log.info("%s: %s, about %s left", self.label, line or note, in_words(left))


def in_words(seconds: float) -> str:
    """A duration, roughly.

    >>> in_words(8.2), in_words(75), in_words(7260)
    ('8 s', '1 min', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
