"""Commands in the process of the tests: one of its own imports for seconds before it begins."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from hydra.core.global_hydra import GlobalHydra

from probes.cli.commands import run_command


class Done(NamedTuple):
    """A command that has ended."""

    status: int
    text: str
    """What it printed, to either stream."""


def command(folder: Path, *overrides: str) -> Done:
    """Run a command in a folder; nothing of it is left in the process."""
    said = io.StringIO()
    GlobalHydra.instance().clear()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
        _loggers_as_before(),
    ):
        status = run_command(overrides)
    return Done(status, said.getvalue())


@contextlib.contextmanager
def _loggers_as_before() -> Iterator[None]:
    """Hydra configures loggers for the whole process."""
    loggers = [logging.getLogger(), logging.getLogger("probes")]
    before = [(one.handlers[:], one.level, one.propagate) for one in loggers]
    try:
        yield
    finally:
        for logger, state in zip(loggers, before, strict=True):
            logger.handlers[:], level, logger.propagate = state
            logger.setLevel(level)
