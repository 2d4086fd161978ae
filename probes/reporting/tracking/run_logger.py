"""What a run tells its logger; the base logs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pandas as pd

from probes.evaluation.table_rows import Row
from probes.results.record import RunRecord
from probes.statistics.maps import MapEvidence
from probes.training.parts import Part

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger


class RunLogger:
    """Logs nothing; what the others extend.

    >>> with RunLogger() as logger:
    ...     logger.lightning
    ()
    """

    lightning: Sequence[Logger] = ()
    """What ``lightning.Trainer`` logs to."""

    def log_phase(self, name: str) -> None:
        """A phase of the run begins: extract, fit, effects, report."""

    def log_facts(self, facts: Mapping[str, Any]) -> None:
        """What has become known of the run: fingerprints, environment, caches; plain data."""

    def log_curve(self, curve: Sequence[Mapping[str, float]]) -> None:
        """Log how a simplified model was trained: ``step`` and other numbers of each point."""
        for point in curve:
            numbers = {f"training/{name}": v for name, v in point.items() if name != "step"}
            for logger in self.lightning:
                logger.log_metrics(numbers, step=int(point["step"]))

    def log_fits(self, fits: Sequence[tuple[Part, Sequence[Row]]]) -> None:
        """Parts of the fits are done, each with its rows of the results table.

        One part when it is fitted, or at once all that an earlier or another process has fitted.
        """

    def log_run(
        self, table: pd.DataFrame, record: RunRecord, maps: Sequence[MapEvidence] = ()
    ) -> None:
        """Log a finished run, whose directory is complete.

        maps: the evidence behind its maps, for the agreement of methods.
        """

    def close(self, error: BaseException | None = None) -> None:
        """Write what is pending and let go of everything.

        error: what the run failed with.
        """

    def __enter__(self) -> RunLogger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(error)
