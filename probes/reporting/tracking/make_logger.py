"""The logger that a configuration names."""

from __future__ import annotations

from probes.config import LoggerConfig
from probes.config.group_checks import check_logger
from probes.reporting.tracking.description import RunDescription
from probes.reporting.tracking.run_logger import RunLogger


def make_logger(config: LoggerConfig, run: RunDescription) -> RunLogger:
    """The logger of a run, to be used as a context manager from before its work begins.

    Raises:
        UserError: unknown logger or mode, a package that is not installed, or several runs in a
            process of a W&B agent.
    """
    check_logger(config)
    if config.name == "csv":
        from probes.reporting.tracking.lightning_loggers import csv_logger

        return csv_logger(run.directory, run.config)
    if config.name == "tensorboard":
        from probes.reporting.tracking.lightning_loggers import tensorboard_logger

        return tensorboard_logger(run.directory, run.config)
    if config.name == "wandb":
        from probes.reporting.tracking.wandb_logger import WandbRunLogger
        from probes.reporting.tracking.wandb_mode import asked_mode
        from probes.reporting.tracking.wandb_start import check_agent

        check_agent(run.directory)
        if asked_mode(config.mode) != "disabled":
            return WandbRunLogger(config, run)
    return RunLogger()
