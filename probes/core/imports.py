"""Heavy libraries, imported late and quickly."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

HEAVY = 500
"""Modules from which on an import has brought a heavy library (torch alone brings a thousand)."""


@contextmanager
def heavy_imports() -> Iterator[None]:
    """Import in here what takes seconds (torch, transformers, lightning), unseen by the garbage
    collector: it would look through half a million objects, which all stay to the end, again and
    again, for a tenth of the time while they are imported and for seconds afterwards and at exit.

    Where the libraries were there already nothing is set aside: an earlier run's garbage is not.
    """
    enabled, known = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
        if len(sys.modules) - known >= HEAVY:
            gc.freeze()
    finally:
        if enabled:
            gc.enable()
