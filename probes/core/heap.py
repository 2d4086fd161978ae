"""Memory that was freed, and that the C library would rather keep."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from functools import cache


def give_back_heap() -> None:
    """Return freed memory to the system, where the C library can (glibc's ``malloc_trim``).

    A tokenizer's many small objects leave holes all over the heap, which is then several times as
    large as what is in use and grows with the number of texts.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    if platform.libc_ver()[0] != "glibc":
        return None
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim
