"""The command line: a run, a sweep, an atlas, and what is done with finished ones."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command that this process was given, and exit with its status."""
    if sys.stderr is not None:
        # A map of a file that is cut meanwhile, or that the disk cannot read, kills the process:
        # it should say where, not "Bus error" alone.
        faulthandler.enable()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until a run begins there is nothing to save, and an import that is interrupted ends in a
        # traceback of the library that happened to be read.
        signal.signal(signal.SIGINT, _leave)
    # After that: what follows takes a second on a busy machine.
    from probes.cli.commands import run_command

    sys.exit(run_command())


def _leave(number: int, frame: object) -> NoReturn:
    os.write(2, b"\nInterrupted.\n")
    os._exit(130)
