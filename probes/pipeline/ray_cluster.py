"""A cluster of Ray as the driver sees it: connected, and with nodes that suit a run."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import secrets
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from probes.config.run import EngineConfig
from probes.core.errors import UserError
from probes.core.files import disk_errors
from probes.core.memory import parse_size
from probes.pipeline.ray_worker import NodeFacts, RayJob, node_facts


def resources_of(engine: EngineConfig) -> dict[str, Any]:
    """What Ray keeps for a task."""
    resources: dict[str, Any] = {"num_cpus": engine.cpus, "num_gpus": engine.gpus}
    if engine.memory is not None:
        resources["memory"] = parse_size(engine.memory, key="engine.memory")
    return resources


def workers(resources: Mapping[str, Any]) -> int:
    """How many tasks the cluster can run at a time.

    Raises:
        UserError: not one.
    """
    import ray

    count = 0
    for node in ray.nodes():
        if node["Alive"]:
            has = node["Resources"]
            shares = [has.get("CPU", 0) / max(resources["num_cpus"], 1e-9)]
            if resources["num_gpus"]:
                shares.append(has.get("GPU", 0) / resources["num_gpus"])
            count += int(min(shares))
    if not count:
        raise UserError(
            f"engine.cpus={resources['num_cpus']} engine.gpus={resources['num_gpus']}: no node of "
            "the cluster has so many",
            fix="engine.cpus=1 engine.gpus=0",
        )
    return count


def check_nodes(job: RayJob, resources: Mapping[str, Any]) -> list[NodeFacts]:
    """Every node sees the cache, and computes as the others do.

    Raises:
        UserError: with the nodes that do not.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    workers(resources)
    alive = [n["NodeID"] for n in ray.nodes() if n["Alive"] and n["Resources"].get("CPU")]
    task = ray.remote(node_facts)
    asked = [
        task.options(
            **resources,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        ).remote(job)
        for node in alive
    ]
    nodes = [result(reference, "a look at the node") for reference in asked]
    blind = sorted({facts.name for facts in nodes if not facts.sees_cache})
    if blind:
        raise UserError(
            f"cache_dir={job.config.cache_dir} is not seen by node {', '.join(blind)}",
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


def result(reference: Any, name: str) -> Any:
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
def connected(address: str | None) -> Iterator[None]:
    """Connect to a cluster, or start Ray on this machine; signals stay ours.

    Inside another such block nothing is done: the jobs of a sweep share its connection.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
    """
    if importlib.util.find_spec("ray") is None:
        raise UserError("engine=ray needs Ray", fix="pip install 'headprobes[ray]'")
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
def seen(cache_dir: Path) -> Iterator[str]:
    """A file in ``cache_dir`` by which nodes know that it is the same directory; its name."""
    path = cache_dir / f".seen-{secrets.token_hex(8)}"
    with disk_errors(cache_dir, 0):
        cache_dir.mkdir(parents=True, exist_ok=True)
        path.touch()
    try:
        yield path.name
    finally:
        path.unlink(missing_ok=True)
