"""Commands in processes that may be killed, forked from one that has imported everything.

``python -m tests.commands OUTPUTS`` is asked for ``{"arguments", "variables"}``: a command with
these environment variables (``tests.fork_server``). ``Commands`` is the client.

With the variable ``FULL_DISK_AT=PATTERN`` the disk is full from the moment at which a file whose
name matches is to get its name. With ``UNPRIVILEGED=1`` root has no more rights than any user.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import time
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tests.fork_server import ForkServer, serve
from tests.privileges import drop_privileges

FULL_DISK_AT, UNPRIVILEGED = "FULL_DISK_AT", "UNPRIVILEGED"
SUBMITIT_PATIENCE = "SUBMITIT_PATIENCE"
"""Seconds that submitit waits for the result of a job that was killed, 15 by itself."""


class Command:
    """One that was started."""

    def __init__(self, server: Commands, pid: int, output: Path) -> None:
        self.server, self.pid, self.output = server, pid, output

    def wait(self) -> int:
        """Its exit status; of one that was killed the number of the signal, negative."""
        status: int = self.server.ask(wait=self.pid)
        return status

    @property
    def text(self) -> str:
        """What it has printed so far."""
        return self.output.read_text()

    def wait_for(self, path: Path, pattern: str, count: int = 1, seconds: float = 60.0) -> None:
        """Wait until there are so many files of this pattern, or the command has ended."""
        end = time.monotonic() + seconds
        while len(list(path.glob(pattern))) < count and _lives(self.pid):
            assert time.monotonic() < end, self.text
            time.sleep(0.002)


class Commands(ForkServer):
    """Starts commands in processes of their own."""

    def __init__(self, outputs: Path, project: Path) -> None:
        super().__init__("tests.commands", [str(outputs)], project)

    def start(self, *arguments: str, **variables: str) -> Command:
        return Command(self, *self.fork(arguments=arguments, variables=variables))

    def run(self, *arguments: str, **variables: str) -> Command:
        """Start one that must succeed, and wait for it."""
        command = self.start(*arguments, **variables)
        assert command.wait() == 0, command.text
        return command


def _lives(pid: int) -> bool:
    """Whether a process has not ended; one that nobody has waited for is no longer alive."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _fill_disk_at(pattern: str) -> None:
    real, full = os.replace, False

    def replace(source: str | Path, target: str | Path) -> None:
        nonlocal full
        full = full or fnmatch(os.path.basename(target), pattern)
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        real(source, target)

    os.replace = replace  # type: ignore[assignment]


def _run(request: dict[str, Any]) -> int:
    # Whoever runs the tests in the background of a shell, or under nohup, has it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    variables = request["variables"]
    os.environ.update(variables)
    if FULL_DISK_AT in variables:
        _fill_disk_at(variables[FULL_DISK_AT])
    if UNPRIVILEGED in variables:
        drop_privileges()
    if SUBMITIT_PATIENCE in variables:
        from submitit.core.core import Job

        Job._results_timeout_s = int(variables[SUBMITIT_PATIENCE])
    from probes.cli.commands import run_command

    try:
        return run_command(request["arguments"])
    finally:
        _end_workers()


def _end_workers() -> None:
    """End joblib's, which wait for more work until the interpreter ends, as it never does here."""
    executors = sys.modules.get("joblib.externals.loky.reusable_executor")
    if executors is not None and executors._executor is not None:
        executors._executor.shutdown(kill_workers=True)


def _serve() -> None:
    import torch
    from matplotlib.figure import Figure

    import probes.cli.merge
    import probes.cli.run
    import probes.pipeline.run  # noqa: F401

    Figure().savefig(io.BytesIO())  # fonts are found once
    torch.set_num_threads(1)  # threads do not survive a fork
    serve(_run, Path(sys.argv[1]))


if __name__ == "__main__":
    _serve()
