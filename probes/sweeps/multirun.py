"""What Hydra's multiruns do differently here: they begin with a plan.

A run enters this as well, so nothing heavy is imported before there is a sweep.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from copy import deepcopy

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from probes.sweeps.launchers import Parse, check_installed, maximise


@contextlib.contextmanager
def planned_sweeps(parse: Parse) -> Iterator[None]:
    """Have Hydra's multiruns inside begin with a plan, and run only what is missing.

    Hydra instantiates launchers of its own package only, so the one that it makes is wrapped.
    """
    plugins = Plugins.instance()
    before, sweeper_before = plugins.instantiate_launcher, plugins.instantiate_sweeper

    def instantiate(
        hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> Launcher:
        from probes.sweeps.composition import JobComposer
        from probes.sweeps.launching import PlannedLauncher

        check_installed(config.hydra.launcher)
        hydra_context.config_loader = JobComposer(hydra_context.config_loader)
        inner = before(hydra_context=hydra_context, task_function=task_function, config=config)
        launcher = PlannedLauncher(inner, parse)
        launcher.setup(hydra_context=hydra_context, task_function=task_function, config=config)
        return launcher

    def instantiate_sweeper(
        *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> Sweeper:
        check_installed(config.hydra.sweeper)
        maximise(config)
        sweeper = sweeper_before(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        # It composes every job to find mistakes early; so does the plan, before anything is run.
        sweeper.validate_batch_is_legal = lambda batch: None  # type: ignore[method-assign]
        if config.get("plan"):
            # It writes down what is swept; a plan leaves no file, and no other command's changed.
            elsewhere = scratch.enter_context(tempfile.TemporaryDirectory())
            sweeper.config = deepcopy(config)
            sweeper.config.hydra.sweep.dir = elsewhere
        return sweeper

    plugins.instantiate_launcher = instantiate  # type: ignore[method-assign]
    plugins.instantiate_sweeper = instantiate_sweeper  # type: ignore[method-assign]
    try:
        with contextlib.ExitStack() as scratch:
            yield
    finally:
        del plugins.instantiate_launcher, plugins.instantiate_sweeper
