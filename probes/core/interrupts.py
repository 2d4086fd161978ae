"""Ctrl+C that is not lost."""

from __future__ import annotations

import _thread
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

MOMENT = 0.05
"""Seconds until an interrupt is said again."""


@contextmanager
def interrupts_heard() -> Iterator[None]:
    """Say an interrupt again that reached Python inside a finaliser, where exceptions are dropped.

    After a long call into a library (a tokenizer's, say) the first code that runs may be that of a
    collected object, and the run would go on as if nobody had pressed anything.
    """
    before = sys.unraisablehook

    def hook(dropped: Any) -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            before(dropped)
            return
        timer = threading.Timer(MOMENT, _thread.interrupt_main)
        timer.daemon = True
        timer.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
