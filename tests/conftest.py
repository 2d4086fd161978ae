"""Fixtures shared by all tests: offline, and the real files where the checkout has them."""

from __future__ import annotations

import logging
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Before NumPy is imported. scikit-learn's fits, the oracles of many tests, are small: the library's
# threads wait for each other in a loop, and on a busy machine take five times as long as one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest

PROJECT = Path(__file__).resolve().parent.parent
SHARED = PROJECT.parent / "shared"


@pytest.fixture(scope="session")
def project() -> Path:
    """The root of the checkout."""
    return PROJECT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real corpora and models beside the checkout; skips where it is missing."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"the real corpora are not at {SHARED}")
    return SHARED


@pytest.fixture(autouse=True, scope="session")
def one_thread_a_worker() -> None:
    """Parallel test processes must not fight for cores: small products get slower, not faster."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        import torch

        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def loggers_of_a_new_process() -> None:
    """A command that a test ran in this process has configured them for the whole of it.

    Its handlers write to a stream that pytest has closed since, and what the package logs no longer
    reaches ``caplog``.
    """
    package = logging.getLogger("probes")
    package.handlers.clear()
    package.propagate = True
    for handler in list(logging.getLogger().handlers):
        if getattr(getattr(handler, "stream", None), "closed", False):
            logging.getLogger().removeHandler(handler)
