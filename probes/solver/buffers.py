"""Reusable scratch buffers: fresh pages of memory cost ten times as much as a warm copy."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from probes.solver import tuning


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
        """Bytes of all buffers."""
        return sum(t.numel() * t.element_size() for t in self._flat.values())


_idle: list[Workspace] = []
_lock = threading.Lock()


@contextmanager
def borrowed() -> Iterator[Workspace]:
    """A workspace that no other thread uses, one that an earlier call has left if there is any."""
    with _lock:
        space = _idle.pop() if _idle else Workspace()
    try:
        yield space
    finally:
        if space.bytes() <= tuning.KEPT_BYTES:
            with _lock:
                _idle.append(space)
