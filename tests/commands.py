"""Commands in processes that may be killed, forked from one that has imported everything.

``python -m tests.commands OUTPUTS`` reads a JSON object a line: ``{"arguments", "variables"}``
starts a command with these environment variables and answers with its process id, ``{"wait": pid}``
answers with its exit status. Importing once keeps the tests short. ``Commands`` is the client.

With the variable ``FULL_DISK_AT=PATTERN`` the disk is full from the moment at which a file whose
name matches is to get its name.
"""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

FULL_DISK_AT = "FULL_DISK_AT"


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


class Commands:
    """Starts commands in processes of their own."""

    def __init__(self, outputs: Path, project: Path) -> None:
        command = [sys.executable, "-m", "tests.commands", str(outputs)]
        self.server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=project
        )

    def ask(self, **request: Any) -> Any:
        assert self.server.stdin is not None and self.server.stdout is not None
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def start(self, *arguments: str, **variables: str) -> Command:
        answer = self.ask(arguments=arguments, variables=variables)
        return Command(self, answer["pid"], Path(answer["output"]))

    def run(self, *arguments: str, **variables: str) -> Command:
        """Start one that must succeed, and wait for it."""
        command = self.start(*arguments, **variables)
        assert command.wait() == 0, command.text
        return command

    def close(self) -> None:
        self.server.kill()
        self.server.communicate()


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


def _child(arguments: Sequence[str], variables: dict[str, str], output: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        with open(output, "w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        os.environ.update(variables)
        if FULL_DISK_AT in variables:
            _fill_disk_at(variables[FULL_DISK_AT])
        from probes.cli.commands import run_command

        status = run_command(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _serve() -> None:
    import torch
    from matplotlib.figure import Figure

    import probes.cli.merge
    import probes.cli.run
    import probes.pipeline.run  # noqa: F401

    Figure().savefig(io.BytesIO())  # fonts are found once
    torch.set_num_threads(1)  # threads do not survive a fork
    outputs = Path(sys.argv[1])
    for count, line in enumerate(sys.stdin):
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer: Any = os.waitstatus_to_exitcode(status)
        else:
            output = outputs / f"{count}.txt"
            output.touch()
            pid = _child(request["arguments"], request["variables"], output)
            answer = {"pid": pid, "output": str(output)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve()
