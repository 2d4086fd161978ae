"""Filling a cache directory: reserved, resumable, durable, and renamed only when complete."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from probes.activations.cache import Cache
from probes.activations.dtypes import DTYPES
from probes.activations.layout import LayerInfo
from probes.activations.partial import PartialCache, RowFields
from probes.core.errors import UserError
from probes.core.files import disk_errors
from probes.core.process import drop_pages
from probes.passes.progress import Progress
from probes.passes.shards import WHOLE, Shard

Piece = tuple[npt.NDArray[np.int64], npt.NDArray[Any]]
"""(n,) rows, and their values (n, units, width) as raw integers."""

RESIDENT = 32 << 20
"""Bytes of a map that are touched before its pages are given back."""


class CheckpointError(UserError):
    """The disk became full or read-only after earlier checkpoints, which are good."""


class CacheWriter:
    """One cache while it is extracted, or a shard of its rows, in ``<key>.partial``.

    Rows are scattered into memory maps: batches are sorted by length, so a batch's rows are spread
    over the file. A ``checkpoint`` makes the numbers durable first and only then the progress that
    counts them, so that what is counted as done is done, whatever kills the process.

    Several processes may each write a shard at the same time (on one machine: their maps share
    pages). The caller holds the lock of the key while a writer is opened and while it finishes,
    and the lock of its shard in between; without shards, the lock of the key all the time.
    """

    def __init__(
        self,
        directory: Path,
        manifest: dict[str, Any],
        layers: Sequence[LayerInfo],
        n_rows: int,
        rows: RowFields,
        *,
        shard: Shard = WHOLE,
        span: tuple[int, int] = (0, 0),
        before_discard: Callable[[], None] = lambda: None,
    ) -> None:
        """Resume what is there if it belongs to this extraction, else begin anew.

        manifest: what is known before: key, fields, dtype, plan, versions. rows: the content of
        ``rows.safetensors``. span: first and last position (exclusive) of the shard in the batch
        plan. before_discard: called before what another run has left is removed; raises where that
        run is still at work.

        Raises:
            UserError: where the disk is too small or cannot be written.
        """
        self.directory = directory
        self.layers = list(layers)
        self.n_rows = n_rows
        self.shard = shard
        self.partial = PartialCache(directory, manifest, layers, n_rows, rows, shard, span)
        resumed = self.partial.resumed()
        self.progress = resumed or Progress(span[0])
        """Of the last checkpoint."""
        self._durable = resumed or Progress()
        if resumed is None:
            if self.partial.path.exists():
                before_discard()
            self.partial.discard()
            self.partial.reserve()
        self._maps, self._cells = self._open()

    @property
    def dtype(self) -> str:
        """That the numbers are stored in."""
        return self.partial.dtype

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest as it will be written."""
        return self.partial.manifest

    def write(self, index: int, pieces: Sequence[Piece]) -> None:
        """Store pieces of a layer.

        Rows are spread over a block of the file, so that every piece touches most of its pages;
        many pieces at a time cost little more than one. The pages are given back to the system, so
        that memory does not grow with the file: they stay in its cache, and are no longer counted
        to this process.
        """
        layer, cells = self.layers[index], self._cells[index]
        # One opaque element a cell: one copy of d_head numbers instead of d_head copies.
        filled = [
            (rows, np.ascontiguousarray(values).view(cells.dtype).reshape(len(rows), layer.units))
            for rows, values in pieces
            if len(rows)
        ]
        if not filled:
            return
        lowest = min(int(rows.min()) for rows, _ in filled)
        span = max(int(rows.max()) for rows, _ in filled) - lowest + 1
        heads = max(1, RESIDENT // (span * cells.itemsize))
        for start in range(0, layer.units, heads):
            some = slice(start, start + heads)
            for rows, values in filled:
                cells[some, rows] = values[:, some].T  # (h, n)
            drop_pages(self._maps[index])

    def checkpoint(self, progress: Progress) -> None:
        """Make everything up to ``progress`` survive a kill or a power cut.

        Later rows may be written meanwhile: they are durable or not, and computed again anyway.
        """
        with self._disk_errors():
            for layer in self.layers:
                self.partial.sync(layer)
            self.partial.save(progress)
        self.progress = self._durable = progress

    def finish(self, progress: Progress) -> Cache | None:
        """Checksum, make durable, and take the final name; None while other shards are not done.

        A shard's ``progress`` must have a checkpoint already.
        """
        total = self.partial.total(progress)
        if total is None:
            self.close()
            return None
        with self._disk_errors():
            self.progress = progress
            self.close()
            self.partial.complete(total)
        cache = Cache.open(self.directory)
        checked = {(x.file, unit) for x in self.layers for unit in range(x.units)}
        return Cache(cache.directory, cache.manifest, cache.layers, fresh=True, _checked=checked)

    def close(self) -> None:
        """Let go of the files; what is there stays for a later run to resume."""
        # Unmapped with the last reference; closing by force fails while a traceback holds a view.
        self._cells, self._maps = [], []

    def discard(self) -> None:
        """Remove what has been written, unless other shards have written too."""
        if self.shard == WHOLE:
            self.partial.discard()

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            with disk_errors(self.directory.parent, self.partial.n_bytes):
                yield
        except UserError as error:
            if not self._durable.sequences:  # nothing that could be kept
                raise
            raise CheckpointError(
                f"cache_dir={self.directory.parent}: a checkpoint cannot be written "
                f"({error.__cause__}); what those before it stored is kept, {self._durable.rows} "
                f"of {self.n_rows} rows",
                fix="making some room on the disk, then the same command again: it resumes",
            ) from error

    def _open(self) -> tuple[list[mmap.mmap], list[npt.NDArray[np.void]]]:
        maps, cells = [], []
        for layer in self.layers:
            with open(self.partial.path / layer.file, "r+b") as file:
                mapped = mmap.mmap(file.fileno(), 0)
            maps.append(mapped)
            cell = np.dtype((np.void, layer.width * DTYPES[self.dtype].itemsize))
            flat = np.frombuffer(mapped, dtype=cell, offset=len(self.partial.header(layer)))
            cells.append(flat.reshape(layer.units, self.n_rows))  # (H, N) cells of d_head
        return maps, cells
