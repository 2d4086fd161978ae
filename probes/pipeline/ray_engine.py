"""The parts of a run as tasks of Ray, on one machine or a cluster.

Ray schedules the tasks, repeats those that a lost node took with it, and ends them when the driver
ends. Activations are files in a ``cache_dir`` that all nodes see; settings travel there, and tables
and probes of a part back.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from probes.core.shown_progress import ShownProgress
from probes.passes.shards import Shard
from probes.pipeline.effect_store import EffectStore
from probes.pipeline.methods import MethodsOfRun
from probes.pipeline.part_store import PartStore
from probes.pipeline.prepare import PreparedRun
from probes.pipeline.ray_cluster import check_nodes, connected, resources_of, result, seen, workers
from probes.pipeline.ray_worker import RayJob, edit_share, extract_shard, fit_one
from probes.statistics.maps import Layer
from probes.training.parts import PlannedPart

log = logging.getLogger(__name__)

SHARES = 2
"""Of the effects for each worker. With more, less is lost with a node, and what every share has to
compute for itself (training means, values of twins) is computed more often."""
RETRIES = 10
"""How often a task is begun again that a lost node took with it."""


@contextlib.contextmanager
def ray_engine(prepared: PreparedRun) -> Iterator[RayEngine]:
    """A driver that is connected to a cluster; its tasks end with the block.

    Raises:
        UserError: Ray is not installed, there is no cluster at the address, or nodes do not see
            ``cache_dir`` or differ in versions or threads.
    """
    with connected(prepared.config.engine.address), seen(prepared.cache_dir) as token:
        job = RayJob(prepared.config, os.getcwd(), token)
        yield RayEngine(prepared, job)


class RayEngine:
    """Sends the parts of one run to the nodes and collects their results."""

    def __init__(self, prepared: PreparedRun, job: RayJob) -> None:
        self.prepared, self.job = prepared, job
        self.resources = resources_of(prepared.config.engine)
        self.progress = prepared.config.trainer.progress
        self.nodes = check_nodes(job, self.resources)

    def extract(self) -> None:
        """Store the activations, a shard for each worker."""
        count = workers(self.resources)
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

    def edit(self, methods: MethodsOfRun, store: EffectStore) -> None:
        """Store the parts of exact effects that are not stored yet, some shares for each worker."""
        if not methods.exact:
            return
        count = SHARES * workers(self.resources)
        given = store.identity, tuple(methods.probed), store.names
        tasks = {
            f"share {i} of the effects": (edit_share, (self.job, Shard(i, count), *given))
            for i in range(count)
        }

        def take(measured: Mapping[str, bytes]) -> None:
            for name, raw in measured.items():
                store.accept(name, raw)

        self._run("editing heads", tasks, take)

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
                        take(result(reference, name))
                        shown.advance(1, line=f"{len(tasks) - len(running)} of {len(tasks)} parts")
        finally:
            for reference in running:
                ray.cancel(reference, force=True)
