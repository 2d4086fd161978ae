"""How far a run over a corpus has come: what is needed to resume it, and what a terminal shows."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


@dataclass(frozen=True)
class Progress:
    """How far a run over a plan, or over a shard of it, has come; enough to resume it."""

    sequences: int = 0
    """Position in the plan: the sequences before it (from the shard's first on) are done."""
    rows: int = 0
    """Rows read in these sequences."""
    batching: tuple[tuple[int, int], ...] = ()
    """(position, tokens per batch) from which each batch size held; one entry, unless memory
    ran out."""


class ProgressBar:
    """A bar over tokens with their rate, shown only where standard error is a terminal."""

    def __init__(self, label: str | None, total: int) -> None:
        """label: what is being done, such as ``extracting``; None shows no bar. total: tokens."""
        self.tokens = 0
        """Tokens done, without padding."""
        self._began = time.monotonic()
        self._bar: RichProgress | None = None
        if label is not None and sys.stderr.isatty():
            self._bar = RichProgress(
                TextColumn(label),
                BarColumn(),
                TextColumn("{task.completed:,.0f} of {task.total:,.0f} tokens"),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("", total=total, rate="")

    def __enter__(self) -> ProgressBar:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self, tokens: int) -> None:
        """Count the tokens of a batch that is done."""
        self.tokens += tokens
        if self._bar:
            rate = self.tokens / max(time.monotonic() - self._began, 1e-9)
            self._bar.update(self._task, completed=self.tokens, rate=f"{rate:,.0f} tokens/s")
