"""Processes that may be killed, forked from one that has imported everything: a server of them.

The server reads a JSON object a line. One that asks for work starts it in a process of its own and
is answered with its id and the file that has what it prints; ``{"wait": pid}`` is answered with its
exit status. Importing once keeps the tests short.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


class ForkServer:
    """The client of ``python -m MODULE ARGUMENTS``, which calls ``serve``."""

    def __init__(self, module: str, arguments: list[str], project: Path) -> None:
        self.server = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=project,
        )

    def ask(self, **request: Any) -> Any:
        """The answer to one request."""
        assert self.server.stdin is not None and self.server.stdout is not None
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def fork(self, **request: Any) -> tuple[int, Path]:
        """Start what the request asks for: its process id, and the file that it prints to."""
        answer = self.ask(**request)
        return answer["pid"], Path(answer["output"])

    def close(self) -> None:
        self.server.kill()
        self.server.communicate()


def serve(work: Callable[[dict[str, Any]], int], outputs: Path) -> None:
    """Answer requests until there are no more; ``work`` returns the exit status of its process."""
    for count, line in enumerate(sys.stdin):
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer: Any = os.waitstatus_to_exitcode(status)
        else:
            output = outputs / f"{count}.txt"
            output.touch()
            answer = {"pid": _forked(work, request, output), "output": str(output)}
        print(json.dumps(answer), flush=True)


def _forked(work: Callable[[dict[str, Any]], int], request: dict[str, Any], output: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        with open(output, "w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        status = work(request)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
