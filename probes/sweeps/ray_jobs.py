"""The jobs of a sweep as tasks of Ray: each whole job on one worker, many side by side.

What travels is the sweep's configuration and a job's overrides there, and how it ended back; caches
and results are files that all nodes see. A worker imports once and runs one job after another.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from probes.config.run import EngineConfig
from probes.core.errors import ERROR_FILE, UserError
from probes.core.files import write_atomically
from probes.results.record import is_finished
from probes.sweeps.launchers import plugin_of
from probes.sweeps.plan import PlannedJob
from probes.sweeps.progress import SweepProgress, error_text

log = logging.getLogger(__name__)

RETRIES = 2
"""How often a job is begun again that a lost node took with it, or that ended its process."""
RAY_LAUNCHER = "hydra_ray_launcher"


@dataclass(frozen=True)
class Sent:
    """What all jobs of a sweep need on a worker."""

    context: HydraContext
    config: DictConfig
    """Of the sweep."""
    task: TaskFunction
    singletons: Any
    """Hydra's."""
    directory: str
    """Working directory of the driver, where relative paths begin."""


@dataclass(frozen=True)
class Ended:
    """How a job ended."""

    node: str
    error: str = ""
    in_use: bool = False
    objective: float | None = None


@contextlib.contextmanager
def on_cluster(
    jobs: Sequence[PlannedJob], launcher: DictConfig, *, here: bool
) -> Iterator[EngineConfig | None]:
    """Connect to the cluster that the jobs to be run ask for, while the block runs.

    launcher: its configuration. here: it runs the jobs in this process.

    Yields:
        The engine of the jobs where they are to become tasks themselves: there are as many of them
        as workers. None where the parts of one job after another are the tasks, and where the
        jobs ask for no cluster.

    Raises:
        UserError: Ray is missing, its nodes do not suit the jobs, or Ray's launcher was chosen too.
    """
    configs = [job.config for job in jobs if job.to_run and job.config is not None]
    on_ray = [config for config in configs if config.engine.name == "ray"]
    known = plugin_of(launcher)
    if on_ray and known is not None and known[0] == RAY_LAUNCHER:
        raise UserError(
            f"engine=ray and {known[1].choice}: the tasks of a job would wait for the cores that "
            "the jobs hold",
            fix="engine=local, or engine=ray without the launcher",
        )
    if not on_ray or not here or any(config.engine != configs[0].engine for config in configs):
        yield None
        return
    from probes.pipeline.ray_cluster import check_nodes, connected, resources_of, seen, workers
    from probes.pipeline.ray_worker import RayJob

    engine, cache_dir = on_ray[0].engine, Path(on_ray[0].cache_dir).expanduser()
    with connected(engine.address):
        resources = resources_of(engine)
        if len(configs) < workers(resources):
            yield None
            return
        with seen(cache_dir) as token:
            check_nodes(RayJob(on_ray[0], os.getcwd(), token), resources)
        yield engine


def run_on_workers(
    jobs: Sequence[PlannedJob],
    overrides: Callable[[PlannedJob], list[str]],
    sent: Sent,
    engine: EngineConfig,
    progress: SweepProgress,
) -> dict[int, JobReturn]:
    """Run jobs as tasks; what they return, by their number. Each is told once, with its node.

    overrides: of a job, its directory among them.
    """
    import ray

    from probes.pipeline.ray_cluster import resources_of, workers

    options = {**resources_of(engine), "max_retries": RETRIES}
    log.info("engine=ray: %d jobs on %d workers", len(jobs), workers(options))
    task, shared = ray.remote(run_one).options(**options), ray.put(sent)
    running = {task.remote(shared, job.number, overrides(job)): job for job in jobs}
    returns = {}
    try:
        while running:
            ready, _ = ray.wait(list(running), num_returns=1, timeout=1.0)
            for reference in ready:
                job = running.pop(reference)
                ended = _ended(reference, job)
                words = f"on node {ended.node}: {ended.error}" if ended.error else ""
                in_use = ended.error if ended.in_use else ""
                progress.ended(
                    job.directory,
                    error="" if in_use else words,
                    in_use=in_use,
                    objective=ended.objective,
                )
                returns[job.number] = JobReturn(status=JobStatus.COMPLETED)
                returns[job.number].return_value = ended.objective
            progress.heartbeat()
    finally:
        for reference in running:
            ray.cancel(reference, force=True)
    return returns


def run_one(sent: Sent, number: int, overrides: list[str]) -> Ended:
    """Run a job on a worker, as Hydra's launchers do."""
    os.chdir(sent.directory)
    setup_globals()
    Singleton.set_state(sent.singletons)
    config = sent.context.config_loader.load_sweep_config(sent.config, overrides)
    with open_dict(config):
        config.hydra.job.id = config.hydra.job.num = number
        config.engine.name = "local"  # this worker does all of the job
    HydraConfig.instance().set_config(config)
    done = run_job(
        task_function=sent.task,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
        hydra_context=sent.context,
    )
    directory = Path(config.hydra.sweep.dir) / str(config.hydra.sweep.subdir)
    node, error = platform.node(), directory / ERROR_FILE
    if error.is_file():
        return Ended(node, error_text(error))
    if not is_finished(directory):
        return Ended(node, f"{directory} is another run's", in_use=True)
    return Ended(node, objective=done.return_value)


def _ended(reference: Any, job: PlannedJob) -> Ended:
    """How a task ended; of a lost one the error is left in the job's directory."""
    import ray

    try:
        ended = ray.get(reference)
        assert isinstance(ended, Ended)
        return ended
    except ray.exceptions.RayTaskError as error:
        return _recorded(job, str(error.cause))
    except ray.exceptions.RayError as error:
        words = f"its process was killed, perhaps for want of memory ({type(error).__name__})"
        return _recorded(job, words)


def _recorded(job: PlannedJob, words: str) -> Ended:
    with contextlib.suppress(OSError):
        job.directory.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"kind": "RayError", "error": words}, indent=2)
        write_atomically(job.directory / ERROR_FILE, content)
    return Ended("unknown", words)
