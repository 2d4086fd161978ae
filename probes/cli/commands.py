"""The command line: ``headprobes``, ``python train.py`` and ``python -m probes`` are one command.

``headprobes KEY=VALUE ...`` makes a run, the verbs of ``VERBS`` work with finished ones.
Exit status: 0 done, 2 the user can fix it, 1 a bug (with its traceback), 130 interrupted,
75 nothing failed, but other processes are still at work on what was asked for.

Nothing is imported before the command is known: ``--version`` and a verb's ``--help`` are quick.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
from collections.abc import Sequence
from typing import NamedTuple

from probes.cli.messages import BUG, DONE, INTERRUPTED, report
from probes.core.errors import UserError, closest
from probes.core.version import __version__


class Verb(NamedTuple):
    """A command that works with finished runs, or on what is known of heads."""

    module: str
    """It has ``DESCRIPTION``, ``add_arguments(parser)`` and ``run(arguments)``."""
    summary: str
    """One line of the help."""


class Run(NamedTuple):
    """A command that makes runs."""

    overrides: tuple[str, ...]
    """What it stands for; those of the user follow."""
    summary: str
    """One line of the help."""


VERBS = {
    "compare": Verb("probes.cli.compare", "difference of two maps, or of two atlases"),
    "catalogue": Verb("probes.cli.catalogue", "what heads are known to do, and how to probe it"),
    "merge": Verb("probes.cli.merge", "one finished run from shards of it, or from jobs"),
    "sweep": Verb("probes.cli.sweep", "table and page of a sweep, made again from its jobs"),
}
"""By name; a new command is a module and a row."""

RUNS = {
    "run": Run((), "probe a model on a corpus, or sweep (-m); this word may be left out"),
    "atlas": Run(("experiment=atlas",), "probe all of the catalogue on one model"),
}
"""Commands that make runs, by name."""

QUIET = {"--help", "-h", "--hydra-help", "--cfg", "-c", "--info", "-i", "--version",
         "--shell-completion", "-sc"}  # fmt: skip
"""Options of runs that print something and run nothing."""


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run the command that was given (default: that of this process) and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    first = given[0] if given else ""
    if first == "--version":
        print(f"headprobes {__version__}")
        return DONE
    if first in VERBS:
        return _run_verb(first, given[1:])
    if first in RUNS:
        given[:1] = RUNS[first].overrides
    elif first == "help":
        given[:1] = ["--help"]
    elif re.fullmatch(r"[a-z_-]*[a-z_]", first) and not first.startswith("-"):
        names = [*RUNS, *VERBS]
        return report(
            UserError(
                f"{first}: neither a command nor KEY=VALUE",
                allowed=", ".join(names),
                fix=closest(first, names, "headprobes {}, or ") + "headprobes --help",
            )
        )
    if not QUIET & {argument.partition("=")[0] for argument in given}:
        # At once: torch and transformers take seconds, on a cold disk many.
        print(f"headprobes {__version__}: loading ...", file=sys.stderr, flush=True)
    # Late: Hydra, which the verbs do not need.
    from probes.cli.run import run

    try:
        status = run(given)
        sys.stdout.flush()
    except BrokenPipeError:
        return _unread()
    return status


def _unread() -> int:
    """The status where whoever read the output has seen enough (``headprobes --help | head``)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BUG


def usage() -> str:
    """The commands, a line each."""
    commands: dict[str, Run | Verb] = {**RUNS, **VERBS}
    lines = [f"  {name:<10} {command.summary}" for name, command in commands.items()]
    return "\n".join(["usage: headprobes [COMMAND] ...", "", "commands:", *lines])


def _run_verb(name: str, arguments: Sequence[str]) -> int:
    module = importlib.import_module(VERBS[name].module)
    parser = argparse.ArgumentParser(prog=f"headprobes {name}", description=module.DESCRIPTION)
    module.add_arguments(parser)
    given = parser.parse_args(arguments)
    try:
        module.run(given)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return _unread()
    except Exception as error:
        return report(error)
    return DONE
