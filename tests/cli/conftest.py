"""Commands that run in the process of the tests."""

from __future__ import annotations

import logging

import pytest


@pytest.fixture(autouse=True)
def no_handlers_of_earlier_runs() -> None:
    """Hydra configures loggers for the whole process; a new command finds them as a new process."""
    package = logging.getLogger("probes")
    package.handlers.clear()
    package.propagate = True
