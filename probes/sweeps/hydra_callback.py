"""What Hydra calls when a job or a multirun ends.

Hydra turns whatever a callback raises into a warning, so nothing here can cost a job its results.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from probes.core.errors import ERROR_FILE

log = logging.getLogger(__name__)

CLOCKS = 120.0
"""Seconds by which the clocks of a cluster may differ."""


class SweepReport(Callback):
    """Writes ``sweep.csv`` and ``sweep.html`` beside the jobs of a multirun."""

    unfinished = 0
    """Jobs of the last multirun without results: where a launcher runs jobs in other processes,
    the command line learns of failures from here."""
    started = 0.0
    """When the multirun began: where several share their directory, as those of atlases do, only
    its own jobs count."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        SweepReport.unfinished = 0

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        SweepReport.unfinished = 0
        SweepReport.started = time.time() - CLOCKS

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Leave the error of a job that ended in an exception, where nobody did before."""
        if job_return.status is not JobStatus.FAILED or job_return.working_dir is None:
            return
        error = job_return._return_value
        path = Path(job_return.working_dir) / ERROR_FILE
        if path.parent.is_dir() and not path.exists():
            content = {"kind": type(error).__name__, "error": str(error) or repr(error)}
            path.write_text(json.dumps(content, indent=2), encoding="utf-8")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        from probes.sweeps.sweep import write_sweep

        directory = Path(config.hydra.sweep.dir)
        level = config.get("significance", {}).get("level", 0.05)
        every = write_sweep(directory, level=float(level))
        jobs = [job for job in every if job.begun >= SweepReport.started]
        for job in jobs:
            if job.status != "finished":
                log.warning("job %s %s: %s", job.name, job.status, job.error or "no results")
        done = sum(job.status == "finished" for job in jobs)
        SweepReport.unfinished = len(jobs) - done
        log.info("%d of %d jobs finished; sweep: %s", done, len(jobs), directory / "sweep.html")
