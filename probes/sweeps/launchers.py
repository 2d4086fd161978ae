"""Hydra's launchers and sweepers that are extras: where they come from, and how many jobs at once.

Adding one is a row here and a file in ``conf/hydra/``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from omegaconf import DictConfig, open_dict

from probes.config import ComposedConfig
from probes.core.cores import THREADS, available_cores
from probes.core.errors import UserError

Parse = Callable[[DictConfig], ComposedConfig]
"""Plain dataclasses from a job's configuration; it raises ``UserError`` for mistakes."""


class PlanPrinted(Exception):
    """``plan=true``: there is nothing else to do."""


class Plugin(NamedTuple):
    """A package that Hydra finds by itself where it is installed."""

    choice: str
    """As it is chosen on the command line."""
    extra: str
    """Of this package, which installs it."""
    of_this_machine: str = ""
    """Of a launcher whose jobs share this machine: its key that bounds how many run at once, or
    cores of each."""


PLUGINS = {
    "hydra_joblib_launcher": Plugin("hydra/launcher=processes", "parallel", "n_jobs"),
    "hydra_submitit_launcher": Plugin("hydra/launcher=slurm", "slurm"),
    "hydra_submitit_launcher.submitit_launcher.LocalLauncher": Plugin(
        "hydra/launcher=slurm_here", "slurm", "cpus_per_task"
    ),
    "hydra_ray_launcher": Plugin("hydra/launcher=ray_nodes", "ray-launcher"),
    "hydra_optuna_sweeper": Plugin("hydra/sweeper=search", "optuna"),
}
"""By the package inside ``hydra_plugins``, or the class where a package has several."""


def plugin_of(node: DictConfig) -> tuple[str, Plugin] | None:
    """The package and the row of a launcher's or sweeper's configuration; None for Hydra's own."""
    target = str(node.get("_target_", "")).removeprefix("hydra_plugins.")
    for name in (target, target.partition(".")[0]):
        if name in PLUGINS:
            return target.partition(".")[0], PLUGINS[name]
    return None


def maximise(config: DictConfig) -> None:
    """Let a search look for the largest objective, unless the user has said otherwise.

    Optuna's package minimises by default: with accuracies it would find the worst settings.
    """
    given = [str(word).partition("=")[0] for word in config.hydra.overrides.hydra]
    if "direction" in config.hydra.sweeper and "hydra.sweeper.direction" not in given:
        with open_dict(config.hydra.sweeper):
            config.hydra.sweeper.direction = "maximize"


def check_installed(node: DictConfig) -> None:
    """Refuse a launcher or sweeper whose package is not there.

    Raises:
        UserError: with the extra that installs it.
    """
    known = plugin_of(node)
    if known is None:
        return
    package, plugin = known
    try:
        spec = importlib.util.find_spec(f"hydra_plugins.{package}")
    except ModuleNotFoundError:
        spec = None
    if spec is None:
        constraints = " -c constraints-ray-launcher.txt" if plugin.extra == "ray-launcher" else ""
        raise UserError(
            f"{plugin.choice}: its package is not installed",
            allowed="launchers and sweepers of Hydra itself, and those of the extras",
            fix=f"pip install{constraints} 'headprobes[{plugin.extra}]'",
        )


def batches(node: DictConfig, jobs: Sequence[list[str]]) -> list[list[list[str]]]:
    """The jobs in the portions that are given to a launcher one after another.

    submitit starts all jobs of this machine at once, so it gets as many as the cores have room for.
    """
    known = plugin_of(node)
    if known is None or known[1].of_this_machine != "cpus_per_task":
        return [list(jobs)]
    at_once = max(1, available_cores() // (node.get("cpus_per_task") or 1))
    return [list(jobs[begin : begin + at_once]) for begin in range(0, len(jobs), at_once)]


@contextlib.contextmanager
def shared_cores(node: DictConfig, jobs: int) -> Iterator[None]:
    """Give each of several jobs on this machine its part of the cores, unless the user has done so.

    Their processes are started inside and inherit it. Without it each would start a thread for
    every core: two jobs at once would take longer than one after the other.
    """
    known = plugin_of(node)
    if known is None or not known[1].of_this_machine or THREADS in os.environ:
        yield
        return
    cores = available_cores()
    asked = node.get("n_jobs", jobs)
    at_once = jobs if asked is None or asked < 1 else min(int(asked), jobs)
    os.environ[THREADS] = str(max(1, cores // max(1, min(at_once, cores))))
    try:
        yield
    finally:
        del os.environ[THREADS]
