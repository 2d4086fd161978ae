"""Heavy libraries, imported late and quickly."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def heavy_imports() -> Iterator[None]:
    """Import in here what takes seconds (torch, transformers, lightning), without the garbage
    collector: it would look through a million objects again and again that all stay to the end,
    for a tenth of the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
