"""The command ``run``: from overrides to a run, a sweep or an atlas.

Hydra composes the configuration; a multirun calls ``run_job`` for each of its jobs.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from probes.cli.directories import not_made_for
from probes.cli.job import parse, run_job
from probes.cli.messages import (
    BUG,
    DONE,
    INTERRUPTED,
    MISTAKE,
    TERMINATED,
    Failure,
    released,
    report,
    worst,
)
from probes.cli.overrides import checked, explained
from probes.config import register
from probes.config.files import config_dir
from probes.core.claims import InUse, making_directories
from probes.core.errors import UserError
from probes.core.process import Terminated, redeliver_lost_interrupts, terminable
from probes.sweeps.hydra_callback import sweep_reports
from probes.sweeps.launchers import PlanPrinted
from probes.sweeps.multirun import planned_sweeps
from probes.sweeps.progress import current


def run(overrides: Sequence[str]) -> int:
    """Compose the configuration and run the job, or the jobs of a sweep; the exit status."""
    register()
    failures: list[Exception | Failure] = []
    told: list[int] = []

    def job(cfg: DictConfig) -> float | None:
        in_sweep = HydraConfig.get().mode == RunMode.MULTIRUN
        try:
            objective = run_job(cfg)
        except Exception as error:
            # Hydra would print a header of its own, and a sweep would stop at the first failure.
            failure = released(error)
            gc.collect()  # what the job left in cycles: maps of files, activations
            if in_sweep and isinstance(error, InUse):
                leave(error, Path(HydraConfig.get().runtime.output_dir))
            elif in_sweep:
                told.append(tell(failure, Path(HydraConfig.get().runtime.output_dir)))
            else:
                failures.append(failure)
            return None
        if in_sweep and (progress := current()) is not None:
            progress.ended(Path(HydraConfig.get().runtime.output_dir), objective=objective)
        return objective

    try:
        overrides = checked(overrides)
    except UserError as error:
        return report(error)
    command = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="config")
    wants_tracebacks = os.environ.get("HYDRA_FULL_ERROR", "0") not in ("", "0")
    try:
        with (
            redeliver_lost_interrupts(),
            terminable(),
            sweep_reports() as reports,
            planned_sweeps(parse),
            _arguments(overrides),
            _full_errors(),
            _new_directories(overrides),
        ):
            command(job)()
    except KeyboardInterrupt as stop:
        print(
            "\nInterrupted. The same command resumes where the extraction stopped; fits go on with "
            "hydra.run.dir=DIRECTORY_OF_THIS_RUN.",
            file=sys.stderr,
        )
        return TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
    except PlanPrinted:
        return DONE
    except BrokenPipeError:  # of what Hydra prints itself: whoever read it has seen enough
        raise
    except HydraException as error:
        failures.append(explained(error, overrides) or error)
    except Exception as error:
        failures.append(not_made_for(error, overrides) or error)
    failures += reports.errors
    statuses = [*told, *(report(error, with_traceback=wants_tracebacks) for error in failures)]
    # A launcher may have run the jobs in other processes: their failures are in the reports, as
    # are the jobs that another command is at work on.
    return worst(statuses) or worst(sweep.exit_status for sweep in reports)


def tell(failure: Failure, run_dir: Path) -> int:
    """Say at once that a job of a sweep has failed: a line, and the traceback of a bug.

    Returns:
        The exit status that it gives the sweep.
    """
    if failure.message is None:
        print(failure.traceback, end="", file=sys.stderr)
    if (progress := current()) is not None:
        words = failure.message or failure.traceback.strip().rpartition("\n")[2]
        if not progress.ended(run_dir, error=words):
            return DONE  # an extraction for several jobs, which now try by themselves
    return BUG if failure.message is None else MISTAKE


def leave(error: InUse, run_dir: Path) -> None:
    """Say that another process is at work on a job of a sweep, which is no failure.

    Whether it ends well is for the sweep's report to say.
    """
    if (progress := current()) is not None:
        progress.ended(run_dir, in_use=error.wrong)


@contextmanager
def _arguments(overrides: Sequence[str]) -> Iterator[None]:
    """Give Hydra these arguments: it takes them from the process only."""
    before = sys.argv
    sys.argv = [before[0], *overrides]
    try:
        yield
    finally:
        sys.argv = before


@contextmanager
def _new_directories(overrides: Sequence[str]) -> Iterator[None]:
    """Make the directories of runs that have no name, unless the configuration is only shown."""
    flags = [word for word in overrides if word.startswith("-")]
    shown = any(word in ("-c", "-i") or word.startswith(("--cfg", "--info")) for word in flags)
    shown = shown or "plan=true" in overrides
    token = making_directories.set(not shown)
    try:
        yield
    finally:
        making_directories.reset(token)


@contextmanager
def _full_errors() -> Iterator[None]:
    """Have Hydra raise its errors of composition, where it would print them and exit with 1."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before
