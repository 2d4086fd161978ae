"""The parts of a run as tasks of Ray, on one machine or a cluster.

Ray schedules the tasks, repeats those that a lost node took with it, and ends them when the driver
ends. Activations are files in a ``cache_dir`` that all nodes see; settings travel there, and tables
and probes of a part back.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import secrets
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from probes.core.errors import UserError
from probes.core.files import disk_errors
from probes.core.memory import parse_size
from probes.core.shown_progress import ShownProgress
from probes.pipeline.part_store import PartStore
from probes.pipeline.prepare import PreparedRun
from probes.pipeline.ray_worker import NodeFacts, RayJob, extract_shard, fit_one, node_facts
from probes.statistics.maps import Layer
from probes.training.parts import PlannedPart

log = logging.getLogger(__name__)

RETRIES = 10
"""How often a task is begun again that a lost node took with it."""


@contextlib.contextmanager
def ray_engine(prepared: PreparedRun) -> Iterator[RayEngine]:
    """A driver that is connected to a cluster; its tasks end with the block.

    Raises:
        UserError: Ray is not installed, there is no cluster at the address, or nodes do not see
            ``cache_dir`` or differ in versions or threads.
    """
    if importlib.util.find_spec("ray") is None:
        raise UserError("engine=ray needs Ray", fix="pip install 'headprobes[ray]'")
    with _connected(prepared.config.engine.address), _token(prepared.cache_dir) as token:
        job = RayJob(prepared.config, os.getcwd(), token)
        yield RayEngine(prepared, job)


class RayEngine:
    """Sends the parts of one run to the nodes and collects their results."""

    def __init__(self, prepared: PreparedRun, job: RayJob) -> None:
        self.prepared, self.job = prepared, job
        settings = prepared.config.engine
        self.resources: dict[str, Any] = {"num_cpus": settings.cpus, "num_gpus": settings.gpus}
        if settings.memory is not None:
            self.resources["memory"] = parse_size(settings.memory, key="engine.memory")
        self.progress = prepared.config.trainer.progress
        self.nodes = self._check_nodes()

    def extract(self) -> None:
        """Store the activations, a shard for each worker."""
        count = self._workers()
        log.info("engine=ray: %d workers on %d nodes", count, len(self.nodes))
        tasks = {f"shard {i}": (extract_shard, (self.job, i, count)) for i in range(count)}
        self._run("extracting", tasks, lambda result: None)

    def machine(self) -> Mapping[str, Any]:
        """What all nodes have in common."""
        return self.nodes[0].machine

    def fit(
        self,
        plan: Sequence[PlannedPart],
        store: PartStore,
        best: Mapping[str, Layer] | None = None,
    ) -> None:
        """Store the results of the parts that are not stored yet, the dearest first."""
        stored = store.load()
        left = [planned for planned in plan if planned.part not in stored]
        left.sort(key=lambda planned: -planned.cost)
        identity = dict(store.identity)
        tasks = {
            str(p.part): (fit_one, (self.job, p.part, identity, dict(best) if best else None))
            for p in left
        }
        self._run("fitting", tasks, store.accept)

    def _run(
        self,
        label: str,
        tasks: Mapping[str, tuple[Callable[..., Any], tuple[Any, ...]]],
        take: Callable[[Any], None],
    ) -> None:
        """Run tasks by name, at most a few more than there are workers at a time.

        Raises:
            UserError, RuntimeError: the first failure, with node and part; the others are ended.
        """
        import ray

        options = {**self.resources, "max_retries": RETRIES}
        running = {
            ray.remote(function).options(**options).remote(*arguments): name
            for name, (function, arguments) in tasks.items()
        }
        try:
            with ShownProgress(label if self.progress else None, len(running)) as shown:
                while running:
                    ready, _ = ray.wait(list(running), num_returns=1, timeout=1.0)
                    for reference in ready:
                        name = running.pop(reference)
                        take(_result(reference, name))
                        shown.advance(1, line=f"{len(tasks) - len(running)} of {len(tasks)} parts")
        finally:
            for reference in running:
                ray.cancel(reference, force=True)

    def _workers(self) -> int:
        """How many tasks the cluster can run at a time."""
        import ray

        count = 0
        for node in ray.nodes():
            if node["Alive"]:
                has, wanted = node["Resources"], self.resources
                shares = [has.get("CPU", 0) / max(wanted["num_cpus"], 1e-9)]
                if wanted["num_gpus"]:
                    shares.append(has.get("GPU", 0) / wanted["num_gpus"])
                count += int(min(shares))
        if not count:
            raise UserError(
                f"engine.cpus={self.resources['num_cpus']} engine.gpus="
                f"{self.resources['num_gpus']}: no node of the cluster has so many",
                fix="engine.cpus=1 engine.gpus=0",
            )
        return count

    def _check_nodes(self) -> list[NodeFacts]:
        """Every node sees the cache, and computes as the others do."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._workers()
        alive = [n["NodeID"] for n in ray.nodes() if n["Alive"] and n["Resources"].get("CPU")]
        task = ray.remote(node_facts)
        asked = [
            task.options(
                **self.resources,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            ).remote(self.job)
            for node in alive
        ]
        nodes = [_result(reference, "a look at the node") for reference in asked]
        blind = sorted({facts.name for facts in nodes if not facts.sees_cache})
        if blind:
            raise UserError(
                f"cache_dir={self.prepared.cache_dir} is not seen by node {', '.join(blind)}",
                allowed="a directory that all nodes see under this name",
                fix="cache_dir=/SHARED/DIRECTORY",
            )
        for facts in nodes[1:]:
            if facts.machine != nodes[0].machine:
                from probes.pipeline.sharded_fits import difference

                raise UserError(
                    f"nodes {nodes[0].name} and {facts.name} differ in "
                    f"{difference(nodes[0].machine, facts.machine)}",
                    allowed="the same versions, device and threads on all nodes",
                )
        return nodes


def _result(reference: Any, name: str) -> Any:
    """The result of a task; its failure as an error of this process."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause if isinstance(error.cause, Exception) else error
        raise cause from None
    except ray.exceptions.RayError as error:
        raise UserError(f"engine=ray: {name} was lost: {str(error).splitlines()[0]}") from None


@contextlib.contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Connect to a cluster, or start Ray on this machine; signals stay ours."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    if address is None:
        options["include_dashboard"] = False
    else:
        options["address"] = address
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    before = ray.is_initialized()
    try:
        if not before:
            try:
                ray.init(**options)
            except (ConnectionError, ValueError) as error:
                raise UserError(
                    f"engine.address={address}: {str(error).splitlines()[0]}",
                    allowed="null (this machine), auto, HOST:PORT",
                    fix="ray start --head on the first node, or engine.address=null",
                ) from None
        _restore(handlers)
        yield
    finally:
        if not before:
            ray.shutdown()
        _restore(handlers)


def _restore(handlers: Mapping[signal.Signals, Any]) -> None:
    with contextlib.suppress(ValueError):  # not in the main thread, where there are none of ours
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _token(cache_dir: Path) -> Iterator[str]:
    """A file in ``cache_dir`` by which nodes know that it is the same directory; its name."""
    path = cache_dir / f".seen-{secrets.token_hex(8)}"
    with disk_errors(cache_dir, 0):
        cache_dir.mkdir(parents=True, exist_ok=True)
        path.touch()
    try:
        yield path.name
    finally:
        path.unlink(missing_ok=True)
