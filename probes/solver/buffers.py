"""Memory that a worker keeps between heads: fresh pages cost ten times a warm copy."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

KEPT_BYTES = 128 << 20
"""A workspace that has grown beyond this is given back after the call that needed it."""


class Workspace:
    """Named buffers, each grown to the largest shape asked for; contents are undefined."""

    def __init__(self) -> None:
        self._flat: dict[tuple[str, torch.dtype], Tensor] = {}

    def empty(self, name: str, shape: Sequence[int], like: Tensor) -> Tensor:
        """An uninitialised tensor that is valid until the same name is asked for again."""
        if like.is_cuda:  # torch's own allocator keeps device memory
            return like.new_empty(tuple(shape))
        size, key = math.prod(shape), (name, like.dtype)
        flat = self._flat.get(key)
        if flat is None or flat.numel() < size:
            flat = self._flat[key] = torch.empty(size, dtype=like.dtype)
        return flat[:size].view(tuple(shape))

    def bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in self._flat.values())


_idle: list[Workspace] = []
_lock = threading.Lock()


@contextmanager
def borrowed() -> Iterator[Workspace]:
    """A workspace of one's own, warm if an earlier call has left one."""
    with _lock:
        space = _idle.pop() if _idle else Workspace()
    try:
        yield space
    finally:
        if space.bytes() <= KEPT_BYTES:
            with _lock:
                _idle.append(space)
