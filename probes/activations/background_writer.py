"""From the hooks to the files: rounding, checking and writing while the model computes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import ParamSpec

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from probes.activations.dtypes import DTYPES
from probes.activations.layout import LayerInfo
from probes.activations.writer import CacheWriter, Piece
from probes.core.errors import UserError
from probes.core.process import return_freed_memory
from probes.passes.progress import Progress

P = ParamSpec("P")


class BackgroundWriter:
    """A thread that takes gathered rows and scatters them into the caches.

    The hooks only gather, round and hand over; the rows that wait are bounded in bytes, so a
    slow disk slows the model down and does not fill the memory. They are held until half of what
    may wait has come together, because the rows of any batch touch most pages of a block of every
    file. NumPy does the copying, because it releases Python's lock and takes no thread away from
    the model. Checkpoints wait for the disk in a thread of their own.
    """

    def __init__(self, writers: Sequence[CacheWriter], capacity: int) -> None:
        """capacity: bytes that may wait; a single tensor may always."""
        self.writers = writers
        self.capacity = capacity
        self._waiting = 0
        self._room = threading.Condition()
        self._queue: queue.SimpleQueue[_Item | Progress | _Flush | None] = queue.SimpleQueue()
        self._held: dict[tuple[int, int], list[Piece]] = {}
        """Of each writer and layer, not written yet."""
        self._held_bytes = 0
        self._checkpoint: threading.Thread | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="cache-writer", daemon=True)

    def __enter__(self) -> BackgroundWriter:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._queue.put(None)
        self._thread.join()
        if self._checkpoint is not None:
            self._checkpoint.join()
        if error is None:
            self._raise()

    def put(self, writer: int, index: int, rows: npt.NDArray[np.int64], picked: Tensor) -> None:
        """Hand over ``picked``, shape (n, units, width), for ``rows`` of a layer of a writer."""
        stored = picked.to(DTYPES[self.writers[writer].dtype].dtype)
        ready = None
        if stored.is_cuda:
            pinned = torch.empty(stored.shape, dtype=stored.dtype, pin_memory=True)
            stored = pinned.copy_(stored, non_blocking=True)
            ready = torch.cuda.Event()
            ready.record()
        with self._room:
            if not self._has_room(stored.nbytes):
                self._queue.put(_Flush())  # what is held may leave no room for a large tensor
                self._room.wait_for(lambda: self._has_room(stored.nbytes))
            self._waiting += stored.nbytes
        self._raise()
        self._queue.put(_Item(writer, index, rows, stored, ready))

    def mark(self, progress: Progress) -> None:
        """Let what was handed over so far survive a kill, unless the disk is still busy with the
        mark before."""
        self._queue.put(progress)

    def settle(self, progress: Progress) -> None:
        """Wait until everything handed over survives a kill, ``progress`` with it."""
        self.drain()
        if self._checkpoint is not None:
            self._checkpoint.join()
        self._sync(progress)
        self._raise()

    def drain(self) -> None:
        """Wait until everything handed over is written; raises the error of the thread, if any."""
        self._queue.put(_Flush())
        with self._room:
            self._room.wait_for(lambda: not self._waiting)
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _has_room(self, n_bytes: int) -> bool:
        return not self._waiting or self._waiting + n_bytes <= self.capacity

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, _Item):
                self._held_bytes += item.values.nbytes
                self._attempt(self._hold, item)
            if not isinstance(item, _Item) or self._held_bytes >= self.capacity // 2:
                self._flush()
            if isinstance(item, Progress):
                self._begin_checkpoint(item)
        self._flush()

    def _attempt(self, act: Callable[P, None], *arguments: P.args, **named: P.kwargs) -> None:
        # After an error nothing is written any more, and no caller waits for room for ever.
        if self._error is not None:
            return
        try:
            act(*arguments, **named)
        except BaseException as error:
            self._error = error

    def _hold(self, item: _Item) -> None:
        """Check the numbers of an item, so that a refusal comes early, and keep them."""
        if item.ready is not None:
            item.ready.synchronize()
        writer = self.writers[item.writer]
        dtype = DTYPES[writer.dtype]
        raw, unsigned = dtype.raw
        values = item.values.view(raw).cpu().numpy().view(unsigned)  # (n, H, D)
        bad = values & dtype.exponent == dtype.exponent
        if bad.any():
            nan = bool((values[bad] & dtype.mantissa).any())
            raise not_finite(writer.layers[item.index], writer, int(bad.sum()), bad.size, nan)
        self._held.setdefault((item.writer, item.index), []).append((item.rows, values))

    def _flush(self) -> None:
        """Write what is held."""
        for (writer, index), pieces in self._held.items():
            self._attempt(self.writers[writer].write, index, pieces)
        self._held.clear()
        written = self._held_bytes
        with self._room:
            self._waiting -= written
            self._held_bytes = 0
            self._room.notify_all()
        if written >= self.capacity // 2:
            # What passes have freed around the rows that were held: holes that grow with the rows.
            return_freed_memory()

    def _begin_checkpoint(self, progress: Progress) -> None:
        if self._error is None and not (self._checkpoint and self._checkpoint.is_alive()):
            self._checkpoint = threading.Thread(target=self._sync, args=(progress,), daemon=True)
            self._checkpoint.start()

    def _sync(self, progress: Progress) -> None:
        try:
            for writer in self.writers:
                writer.checkpoint(progress)
        except BaseException as error:
            self._error = error


class _Flush:
    """Asks the thread to write what it holds."""


class _Item:
    """Rows on their way to a file."""

    def __init__(
        self,
        writer: int,
        index: int,
        rows: npt.NDArray[np.int64],
        values: Tensor,
        ready: torch.cuda.Event | None,
    ) -> None:
        self.writer, self.index, self.rows = writer, index, rows
        self.values, self.ready = values, ready


class StoredOverflowError(UserError):
    """Finite values beyond the range of the stored dtype: another one would hold them."""

    site = ""
    """Kind of site that has them."""


def not_finite(layer: LayerInfo, writer: CacheWriter, bad: int, total: int, nan: bool) -> UserError:
    """The refusal of values that no probe could use."""
    overflow = writer.dtype == "float16" and not nan
    refusal = (StoredOverflowError if overflow else UserError)(
        f"{writer.manifest['site']}, {layer.stream} layer {layer.layer}: {bad} of {total} values "
        f"of a batch are not finite in {writer.dtype}",
        fix="extraction.dtype=auto (or bfloat16, float32): float16 ends at 65504"
        if overflow
        else "model.dtype=float32: the model itself overflows or holds broken weights",
    )
    if isinstance(refusal, StoredOverflowError):
        refusal.site = writer.manifest["site"]
    return refusal
