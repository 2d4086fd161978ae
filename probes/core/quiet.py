"""The console of a job among many: lines about progress alone, the rest goes to a file."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

PROGRESS = "probes.core.shown_progress"
"""The logger whose lines say that long work is going on."""


@contextlib.contextmanager
def quiet_console(path: Path) -> Iterator[None]:
    """Send what is printed inside to the end of a file, and keep what is logged off the console.

    Lines of ``ShownProgress`` still reach it, and so do bars. Handlers that write to files are
    left alone.
    """
    consoles = [
        handler
        for logger in (logging.getLogger("probes"), logging.getLogger())
        for handler in logger.handlers
        if type(handler) is logging.StreamHandler
    ]
    for handler in consoles:
        handler.addFilter(_is_progress)
    try:
        with path.open("a", encoding="utf-8") as file, contextlib.redirect_stdout(file):
            yield
    finally:
        for handler in consoles:
            handler.removeFilter(_is_progress)


def _is_progress(record: logging.LogRecord) -> bool:
    return record.name == PROGRESS
