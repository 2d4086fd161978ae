"""CSV files and TensorBoard events, by Lightning's own loggers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from probes.core.errors import UserError
from probes.reporting.tracking.guard import Guard
from probes.reporting.tracking.run_logger import RunLogger
from probes.reporting.tracking.run_numbers import run_numbers
from probes.results.record import RunRecord
from probes.statistics.maps import MapEvidence

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger


class LightningRunLogger(RunLogger):
    """Files in the run directory, through one of Lightning's loggers."""

    def __init__(
        self, name: str, logger: Logger, run_dir: Path, run_config: Mapping[str, Any]
    ) -> None:
        self.lightning = (logger,)
        self._logger = logger
        self._run_dir = run_dir
        self._guard = Guard(f"logger={name}", lambda error: str(error) or repr(error))
        logger.log_hyperparams(dict(run_config))

    def log_run(
        self, table: pd.DataFrame, record: RunRecord, maps: Sequence[MapEvidence] = ()
    ) -> None:
        """Write the best heads, and the maps where the logger takes pictures."""
        self._guard("logging results", lambda: self._write(table, record))

    def _write(self, table: pd.DataFrame, record: RunRecord) -> None:
        self._logger.log_metrics(run_numbers(table, record))
        writer: Any = getattr(self._logger, "experiment", None)
        if hasattr(writer, "add_image"):
            from matplotlib.image import imread

            for image in sorted((self._run_dir / "maps").glob("*.png")):
                writer.add_image(f"maps/{image.stem}", imread(image), dataformats="HWC")

    def close(self, error: BaseException | None = None) -> None:
        """End the run there."""
        status = "success" if error is None else "failed"
        self._guard.last("ending the run", lambda: self._logger.finalize(status))


def csv_logger(run_dir: Path, run_config: Mapping[str, Any]) -> RunLogger:
    """``csv/metrics.csv`` and ``csv/hparams.yaml``."""
    from lightning.pytorch.loggers import CSVLogger

    logger = CSVLogger(run_dir, name="csv", version="")
    return LightningRunLogger("csv", logger, run_dir, run_config)


def tensorboard_logger(run_dir: Path, run_config: Mapping[str, Any]) -> RunLogger:
    """Events in ``tensorboard/``.

    Raises:
        UserError: the package is not installed.
    """
    from lightning.pytorch.loggers import TensorBoardLogger

    try:
        board = TensorBoardLogger(run_dir, name="tensorboard", version="")
    except ModuleNotFoundError:
        raise UserError(
            "logger=tensorboard: tensorboard is not installed",
            fix="pip install 'headprobes[tensorboard]', or logger=csv",
        ) from None
    return LightningRunLogger("tensorboard", board, run_dir, run_config)
