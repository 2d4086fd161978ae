"""The commands that send runs which W&B has kept offline."""

from __future__ import annotations

import shlex
from pathlib import Path

from probes.core.files import paths_below

RUNS = "offline-run-*"
OFFLINE = f"wandb/{RUNS}"


def sync_command(directory: Path) -> str:
    """The command that sends what is in the directory, for a shell.

    >>> sync_command(Path("my runs/wandb/offline-run-1"))
    "wandb sync 'my runs/wandb/offline-run-1'"
    """
    return f"wandb sync {shlex.quote(str(directory))}"


def sweep_sync_command(directory: Path) -> str | None:
    """The same for all jobs of a sweep; None where each of them was sent."""
    patterns = {}
    kept = [path for of_job in paths_below(directory, "wandb") for path in of_job.glob(RUNS)]
    for run in sorted(kept):
        if not any(run.glob("*.synced")):
            depth = len(run.relative_to(directory).parts) - 2  # above ``wandb/offline-run-...``
            patterns[depth] = "/".join([shlex.quote(str(directory)), *["*"] * depth, OFFLINE])
    return f"wandb sync {' '.join(patterns.values())}" if patterns else None
