"""The launcher of a sweep: a plan first, shared activations next, then the jobs that are missing.

Hydra's own launchers (in this process, joblib, submitit, Ray) do the work; this one stands before
them. It gives them the jobs that are not done, each with the directory that belongs to it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from probes.config.run import EngineConfig
from probes.core.claims import LOCK, held, in_use
from probes.core.errors import ERROR_FILE, UserError
from probes.core.files import write_atomically
from probes.core.overrides import quoted
from probes.core.process import heavy_imports
from probes.results.record import is_finished
from probes.sweeps.caches import SharedCache, shared_caches
from probes.sweeps.joinable import joinable
from probes.sweeps.launchers import Parse, PlanPrinted, batches, shared_cores
from probes.sweeps.plan import PlannedJob, Planner, key_of
from probes.sweeps.plan_text import plan_lines
from probes.sweeps.progress import (
    POLL_SECONDS,
    SweepProgress,
    error_text,
    planned,
    unchanged,
    watched,
)
from probes.sweeps.ray_jobs import Sent, on_cluster, run_on_workers

log = logging.getLogger(__name__)

BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


class PlannedLauncher(Launcher):
    """Plans the jobs that a sweeper asks for, and has those that are missing run."""

    def __init__(self, inner: Launcher, parse: Parse) -> None:
        """inner: set up already; it runs the jobs."""
        self.inner, self.parse = inner, parse

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what Hydra gives every launcher."""
        self.config, self.hydra_context = config, hydra_context
        self.task_function = task_function
        self.local = BasicLauncher()
        self.local.setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self.directory = Path(str(config.hydra.sweep.dir))
        named = config.get("sweep") is not None
        self.kept: set[int] = set()
        """Numbers of jobs that keep the parts of their fits."""
        self.planner = Planner(self.directory, named, self._compose, self.parse, _fixed(config))

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs that are not done; a result for each, in the order given.

        Raises:
            PlanPrinted: after the plan, where only that is asked for.
        """
        jobs = self.planner.plan(job_overrides, initial_job_idx)
        self.kept |= joinable(jobs)
        shared = shared_caches(jobs)
        states = {}
        if shared:
            with heavy_imports():
                from probes.sweeps.cache_states import cache_state
            states = {cache.name: cache_state(cache) for cache in shared}
        if not initial_job_idx:  # a search goes on asking for jobs
            for line in plan_lines(jobs, shared, states, self.directory, self.config):
                log.info("%s", line)
        if self.config.get("plan"):
            raise PlanPrinted
        planned.setdefault(self.directory, set()).update(job.directory for job in jobs)
        idle = all(job.state in ("finished", "twin") for job in jobs)
        idle = idle and unchanged.get(self.directory) != 0
        unchanged[self.directory] = initial_job_idx + len(jobs) if idle else 0
        node, here = self.config.hydra.launcher, isinstance(self.inner, BasicLauncher)
        with on_cluster(jobs, node, here=here) as engine:
            self._extract([cache for cache in shared if not states[cache.name].complete])
            returns = self._run(jobs, engine)
        for job in jobs:
            if job.number not in returns and is_finished(job.directory):
                returns[job.number] = self._of_finished(job)
            if job.state in ("finished", "in use"):
                with contextlib.suppress(OSError):
                    os.utime(job.directory / ".hydra")  # by which the report knows its own jobs
        by_directory = {job.directory: returns[job.number] for job in jobs if job.number in returns}
        return [
            returns.get(job.number, by_directory.get(job.directory, _nothing())) for job in jobs
        ]

    def _compose(self, overrides: Sequence[str], number: int) -> DictConfig:
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return config

    # --- what is run --------------------------------------------------------------------------

    def _extract(self, shared: Sequence[SharedCache]) -> None:
        """Store the activations that several jobs share, each once.

        Another command with the same sweep waits meanwhile: it would run in a directory that is
        removed here.
        """
        runs = [
            PlannedJob(number, tuple(cache.overrides), "missing", self.directory / cache.name)
            for number, cache in enumerate(shared)
        ]
        if not runs:
            return
        self.directory.mkdir(parents=True, exist_ok=True)  # not every sweeper has made it
        with contextlib.ExitStack() as locks:
            for name in sorted({cache.name for cache in shared}):  # in one order everywhere
                waiting = f"another process extracts {name} for this sweep"
                locks.enter_context(held(self.directory, f".{name}{LOCK}", waiting=waiting))
            self._run_extractions(runs)

    def _run_extractions(self, runs: Sequence[PlannedJob]) -> None:
        self._launch(self.inner, runs, SweepProgress([], len(runs)))
        for run in runs:
            error = run.directory / ERROR_FILE
            if error.is_file():
                log.warning(
                    "extraction for several jobs failed, each of them tries by itself: %s",
                    error_text(error),
                )
            if not in_use(run.directory):  # by what a command that was killed has left running
                shutil.rmtree(run.directory, ignore_errors=True)

    def _run(self, jobs: Sequence[PlannedJob], engine: EngineConfig | None) -> dict[int, JobReturn]:
        """What the jobs that were not done return, by their number.

        engine: where they become tasks of a cluster.
        """
        todo = [job for job in jobs if job.to_run]
        for job in todo:
            (job.directory / ERROR_FILE).unlink(missing_ok=True)  # of the last time
        total = int(self.config.hydra.sweeper.get("n_trials", 0))  # of a search
        progress = SweepProgress(todo, max(total, jobs[-1].number + 1) if jobs else 0)
        # Mistakes are told by the jobs themselves, for which nothing needs to be submitted.
        refused = [job for job in todo if job.state == "refused"]
        others = [job for job in todo if job.state != "refused"]
        returns = self._launch(self.local, refused, progress)
        if engine is None:
            return returns | self._launch(self.inner, others, progress)
        with watched(progress, elsewhere=False):
            return returns | run_on_workers(others, self._placed, self._sent(), engine, progress)

    def _launch(
        self, launcher: Launcher, jobs: Sequence[PlannedJob], progress: SweepProgress
    ) -> dict[int, JobReturn]:
        """Have a launcher run jobs; those of killed processes are tried once more, one by one."""
        here = isinstance(launcher, BasicLauncher)
        returns: dict[int, JobReturn] = {}
        with watched(progress, elsewhere=not here):
            waiting = [list(jobs)] if jobs else []
            tries = Counter[int]()
            while waiting:
                batch = waiting.pop(0)
                try:
                    returns |= self._batch(launcher, batch)
                except (UserError, HydraException):
                    raise
                except Exception as error:  # a launcher's own: a process was killed
                    if here:
                        raise
                    while any(in_use(job.directory) for job in batch):
                        time.sleep(POLL_SECONDS)  # others of the batch are still at work
                    tries.update(job.number for job in batch if _was_begun(job))
                    left = [job for job in batch if not _has_ended(job)]
                    begun = [job for job in left if tries[job.number]]
                    for job in begun:
                        if tries[job.number] > 1:
                            _record_kill(job, error)
                    again = [[job] for job in begun if tries[job.number] == 1]
                    rest = [job for job in left if not tries[job.number]]
                    if len(again) + len(rest) == len(batch) and not begun:
                        raise  # nothing was begun: the launcher does not work at all
                    waiting = [*([rest] if rest else []), *again, *waiting]
        return returns

    def _batch(self, launcher: Launcher, jobs: Sequence[PlannedJob]) -> dict[int, JobReturn]:
        node = self.config.hydra.launcher
        overrides = [self._placed(job) for job in jobs]
        returns: list[JobReturn] = []
        with shared_cores(node, len(jobs)):
            for portion in batches(node, overrides):
                first = jobs[len(returns)].number
                returns += launcher.launch(portion, initial_job_idx=first)
        return {job.number: of_job for job, of_job in zip(jobs, returns, strict=True)}

    def _placed(self, job: PlannedJob) -> list[str]:
        """The overrides of a job, its directory among them."""
        subdir = os.path.relpath(job.directory, self.directory)
        own = [f"hydra.sweep.subdir={quoted(subdir)}"]
        if job.number in self.kept and "keep_parts" not in map(key_of, job.overrides):
            own.append("keep_parts=true")
        return [*job.overrides, *own]

    def _sent(self) -> Sent:
        """What a worker needs to run a job."""
        return Sent(
            self.hydra_context,
            self.config,
            self.task_function,
            Singleton.get_state(),
            os.getcwd(),
        )

    def _of_finished(self, job: PlannedJob) -> JobReturn:
        """What a job returned when it was run: only a search asks for it."""
        value = None
        if self.config.hydra.sweeper.get("_target_") != BASIC_SWEEPER and job.config is not None:
            from probes.results.objective import objective_of  # late: pandas
            from probes.results.table import read_results

            value = objective_of(read_results(job.directory / "results.csv"), job.config.objective)
        return _nothing(value)


def _fixed(config: DictConfig) -> set[str]:
    """Keys that a command sets to one value for all of its jobs."""
    given = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
    return {key_of(str(one.input_line)) for one in given if not one.is_sweep_override()}


def _was_begun(job: PlannedJob) -> bool:
    """Whether a job was begun and has not ended, as a process leaves it that was killed."""
    return (job.directory / ".hydra").is_dir() and not _has_ended(job)


def _has_ended(job: PlannedJob) -> bool:
    return is_finished(job.directory) or (job.directory / ERROR_FILE).is_file()


def _record_kill(job: PlannedJob, error: Exception) -> None:
    words = f"its process was killed, perhaps for want of memory ({type(error).__name__})"
    content = json.dumps({"kind": type(error).__name__, "error": words}, indent=2)
    write_atomically(job.directory / ERROR_FILE, content)


def _nothing(value: float | None = None) -> JobReturn:
    done = JobReturn(status=JobStatus.COMPLETED)
    done.return_value = value
    return done
