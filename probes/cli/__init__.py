"""The command line: a run, a sweep, an atlas, and what is done with finished ones."""

from __future__ import annotations

import sys
from typing import NoReturn

from probes.cli.commands import run_command


def main() -> NoReturn:
    """Run the command that this process was given, and exit with its status."""
    sys.exit(run_command())
