"""Progress of an extraction in the terminal: tokens per second and time left."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from probes.passes.batches import Batch, BatchPlan


class ProgressBar:
    """A progress bar over tokens, shown only where standard error is a terminal."""

    def __init__(self, plan: BatchPlan, position: int, *, shown: bool) -> None:
        self.tokens = 0
        self._began = time.monotonic()
        self._total = plan.tokens_after(position)
        self._bar = None
        if shown and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("extracting"),
                BarColumn(),
                TextColumn("{task.completed:,.0f} of {task.total:,.0f} tokens"),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("", total=self._total, rate="")

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

    def advance(self, batch: Batch) -> None:
        """Count a batch that is done."""
        self.tokens += batch.tokens
        if self._bar:
            rate = self.tokens / max(time.monotonic() - self._began, 1e-9)
            self._bar.update(self._task, completed=self.tokens, rate=f"{rate:,.0f} tokens/s")
