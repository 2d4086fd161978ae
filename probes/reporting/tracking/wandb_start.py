"""Starting a W&B run, so that it has only what it is given: no machine, user, code or console."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from probes.config import LoggerConfig
from probes.core.errors import UserError
from probes.reporting.tracking.description import RunDescription
from probes.reporting.tracking.names import job_type, run_id, run_name
from probes.reporting.tracking.sweep_of_run import SweepOfRun
from probes.reporting.tracking.wandb_mode import wandb_mode

log = logging.getLogger(__name__)

FINISH_SECONDS = 300.0
"""How long the end of a run waits for uploads, where ``WANDB_FINISH_TIMEOUT`` does not say it; what
is left is sent by ``wandb sync``."""
SETTINGS: Mapping[str, Any] = {
    "silent": True,
    "console": "off",
    "host": "",
    "username": "",
    "email": "",
    "disable_git": True,
    "disable_code": True,
    "x_disable_stats": True,
    "x_disable_meta": True,  # command line, working directory, user, machine
    "x_disable_machine_info": True,
    "x_save_requirements": False,
    "finish_timeout": FINISH_SECONDS,
    "finish_timeout_raises": True,
}
"""Those that a version does not know are left out."""


def quieten() -> None:
    """Have W&B print nothing; it must be asked before anything else, or it prints warnings.

    Where this process has used W&B before, its settings change but not yet what it prints with.
    """
    import wandb

    session = wandb.setup(settings=wandb.Settings(silent=True))
    wandb.termsetup(session.settings, None)


def started(config: LoggerConfig, run: RunDescription, clean: Callable[[str], str]) -> Any:
    """A W&B run for ``run``: a new one, or the one that the same job began in its directory.

    A run that does not start online is begun offline, with a warning.

    clean: takes what is secret out of a text.
    """
    arguments, mode = _arguments(config, run, clean), wandb_mode(config.mode)
    try:
        return _init(mode, arguments)
    except (Exception, SystemExit) as error:
        if mode == "online":
            words = clean(str(error) or repr(error))
            log.warning("W&B: it did not start online (%s), so this run is kept offline", words)
    # The service may be the one of an earlier run, and have died since.
    let_go()
    quieten()
    return _init("offline", arguments)


def _init(mode: str, arguments: dict[str, Any]) -> Any:
    import wandb

    return wandb.init(**{"mode": mode, "settings": settings(), **arguments})


def settings() -> Any:
    """As far as the installed version knows them."""
    import wandb

    wanted = {
        name: value for name, value in SETTINGS.items() if name in wandb.Settings.model_fields
    }
    if "WANDB_FINISH_TIMEOUT" in os.environ:
        wanted.pop("finish_timeout", None)
    return wandb.Settings(**wanted)


def _arguments(
    config: LoggerConfig, run: RunDescription, clean: Callable[[str], str]
) -> dict[str, Any]:
    """Of ``wandb.init``; an agent's runs get project, team and id from the agent."""
    sweep = SweepOfRun.of(run.directory)
    group = config.group or sweep.group
    arguments: dict[str, Any] = {
        "dir": run.directory,
        "name": clean(run_name(run, sweep)),
        "job_type": job_type(run, sweep),
        "group": None if group is None else clean(group),
        "tags": [clean(tag) for tag in config.tags],
        "reinit": "create_new",
    }
    if not by_agent():
        arguments |= {
            "project": config.project,
            "entity": config.entity,
            "id": run_id(run),
            "resume": "allow",
        }
    return arguments


def by_agent() -> bool:
    """Whether a W&B agent has started this process."""
    return bool(os.environ.get("WANDB_SWEEP_ID"))


def check_agent(run_dir: Path) -> None:
    """Refuse several runs in a process that an agent has started for one.

    Raises:
        UserError: the run is a job of a sweep, or a part of an atlas.
    """
    if by_agent() and SweepOfRun.of(run_dir).group is not None:
        raise UserError(
            "logger=wandb: a W&B agent starts one run a process, not a sweep (-m) or an atlas",
            fix="a command without -m in the agent's file, or logger=none",
        )


def swept_keys() -> set[str]:
    """Keys of the configuration that an agent has set, which W&B does not let a run change."""
    path = os.environ.get("WANDB_SWEEP_PARAM_PATH")
    if not by_agent() or not path:
        return set()
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return set()
    return set(content) if isinstance(content, dict) else set()


def let_go() -> None:
    """End the connection with W&B's service after it has failed.

    The next run of this process gets a service of its own, and the end of the process is not made a
    failure by this one.
    """
    with contextlib.suppress(Exception, SystemExit):
        import wandb

        wandb.teardown()
