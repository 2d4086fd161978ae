"""Filling a cache directory: reserved, resumable, durable, and renamed only when complete."""

from __future__ import annotations

import mmap
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from probes.activations.cache import Cache
from probes.activations.layout import (
    DTYPES,
    MANIFEST,
    ROW_FIELDS,
    ROWS,
    LayerInfo,
    data_bytes,
    head_map,
    header,
    read_manifest,
    rows_header,
    seal,
)
from probes.core.errors import UserError
from probes.core.files import (
    checksum,
    disk_errors,
    free_bytes,
    reserve,
    size,
    sync_directory,
    write_atomically,
)
from probes.core.process import drop_pages

Piece = tuple[npt.NDArray[np.int64], npt.NDArray[Any]]
RowFields = Callable[[str], Iterable[npt.NDArray[np.int32]]]
"""The numbers of one of ``ROW_FIELDS`` in the order of the rows, some at a time."""
RESIDENT = 32 << 20  # bytes of a map that are touched before its pages are given back


@dataclass(frozen=True)
class Progress:
    """How far an extraction has come, as the manifest of a partial cache stores it."""

    sequences: int = 0
    """Sequences done, in the order of the batches."""
    rows: int = 0
    batching: tuple[tuple[int, int], ...] = ()
    """(sequence, tokens per batch) from which each batch size held; one entry, unless memory
    ran out."""


class CacheWriter:
    """One cache while it is extracted, in ``<key>.partial`` beside its final name.

    Rows are scattered into memory maps: batches are sorted by length, so a batch's rows lie all
    over the file. A ``checkpoint`` makes the numbers durable first and only then the manifest that
    counts them, so that what the manifest says is done is done, whatever kills the process.

    The caller holds the lock of the key. Raises ``UserError`` where the disk is too small.
    """

    def __init__(
        self,
        directory: Path,
        manifest: dict[str, Any],
        layers: list[LayerInfo],
        n_rows: int,
        rows: RowFields,
    ) -> None:
        """``manifest`` holds what is known beforehand: key, fields, dtype, plan, versions."""
        self.directory = directory
        self.partial = directory.with_name(directory.name + ".partial")
        self.layers = layers
        self.n_rows = n_rows
        self.dtype: str = manifest["dtype"]
        self.manifest = manifest | {
            "rows": self.n_rows,
            "head_map": head_map(layers),
            "files": self._files(rows),
        }
        resumed = self._resumable()
        self.progress = resumed or Progress()
        """Of the last checkpoint."""
        if resumed is None:
            self.discard()
            self._reserve(rows)
        self._maps, self._cells = self._open()

    def write(self, index: int, pieces: Sequence[Piece]) -> None:
        """Store pieces of a layer: for each its rows (n,), and values (n, units, width) as raw
        integers.

        Rows lie all over a block of the file, so that every piece touches most of its pages; many
        at a time cost little more than one. The pages are given back, so that memory does not grow
        with the file: the system keeps them, only this process no longer counts them.
        """
        layer, cells = self.layers[index], self._cells[index]
        # One opaque element a cell: one copy of d_head numbers instead of d_head copies.
        found = [
            (rows, np.ascontiguousarray(values).view(cells.dtype).reshape(len(rows), layer.units))
            for rows, values in pieces
            if len(rows)
        ]
        if not found:
            return
        span = max(int(rows.max()) for rows, _ in found) - min(int(rows.min()) for rows, _ in found)
        heads = max(1, RESIDENT // ((span + 1) * cells.itemsize))
        for start in range(0, layer.units, heads):
            some = slice(start, start + heads)
            for rows, values in found:
                cells[some, rows] = values[:, some].T  # (h, n)
            drop_pages(self._maps[index])

    def checkpoint(self, progress: Progress) -> None:
        """Make everything up to ``progress`` survive a kill or a power cut.

        Later rows may be written meanwhile: they are durable or not, and computed again anyway.
        """
        with disk_errors(self.directory.parent, self._bytes()):
            for layer in self.layers:
                self._sync(layer)
            self._write_manifest(progress, complete=False)
        self.progress = progress

    def finish(self, progress: Progress) -> Cache:
        """Checksum, make durable, and take the final name."""
        with disk_errors(self.directory.parent, self._bytes()):
            with ThreadPoolExecutor(2) as pool:  # one waits for the disk, one computes
                synced = [pool.submit(self._sync, layer) for layer in self.layers]
                for layer, checksums in zip(
                    self.layers, pool.map(self._checksums, self.layers), strict=True
                ):
                    self.manifest["files"][layer.file]["crc32"] = checksums
                for task in synced:
                    task.result()
            self._write_manifest(progress, complete=True)
            self.progress = progress
            self.close()
            os.rename(self.partial, self.directory)
            sync_directory(self.directory.parent)
        cache = Cache.open(self.directory)
        checked = {(x.file, unit) for x in self.layers for unit in range(x.units)}
        return Cache(cache.directory, cache.manifest, cache.layers, fresh=True, _checked=checked)

    def close(self) -> None:
        """Let go of the files; what is there stays for a later run to resume."""
        # Unmapped with the last reference; closing by force fails while a traceback holds a view.
        self._cells, self._maps = [], []

    def discard(self) -> None:
        """Remove what has been written."""
        if self.partial.exists():
            shutil.rmtree(self.partial)

    def _resumable(self) -> Progress | None:
        """Progress of an earlier run that computed the very same thing, if there is one."""
        if not (self.partial / MANIFEST).exists():
            return None
        try:
            found = read_manifest(self.partial)
        except UserError:  # nothing depends on a partial cache: it is simply begun again
            return None
        # Not the files: a run killed just before the renaming has their checksums already.
        if any(found.get(k) != v for k, v in self.manifest.items() if k != "files"):
            return None
        for name, entry in self.manifest["files"].items():
            path = self.partial / name
            if not path.exists() or path.stat().st_size != entry["bytes"]:
                return None
        rows = self.manifest["files"][ROWS]
        with open(self.partial / ROWS, "rb", buffering=0) as file:
            if [checksum(file.fileno(), 0, rows["bytes"])] != rows["crc32"]:
                return None
        batching = tuple((int(a), int(b)) for a, b in found["batching"])
        return Progress(int(found["sequences_done"]), int(found["rows_done"]), batching)

    def _reserve(self, rows: RowFields) -> None:
        parent = self.directory.parent
        needed = self._bytes()
        with disk_errors(parent, needed):
            if needed > free_bytes(parent):
                raise UserError(
                    f"cache_dir={parent}: the activations need {size(needed)}, and the disk has "
                    f"{size(free_bytes(parent))} free",
                    fix="cache_dir=DIRECTORY_ON_A_LARGER_DISK, or fewer layers=",
                )
            self.partial.mkdir()
            try:
                for layer in self.layers:
                    with open(self.partial / layer.file, "wb") as file:
                        reserve(file.fileno(), self._size(layer))
                        file.write(self._header(layer))
                self._write_rows(rows)
                self._write_manifest(Progress(), complete=False)
                sync_directory(parent)
            except BaseException:
                self.discard()
                raise

    def _open(self) -> tuple[list[mmap.mmap], list[npt.NDArray[np.void]]]:
        maps, cells = [], []
        for layer in self.layers:
            with open(self.partial / layer.file, "r+b") as file:
                mapped = mmap.mmap(file.fileno(), 0)
            maps.append(mapped)
            cell = np.dtype((np.void, layer.width * DTYPES[self.dtype].itemsize))
            flat = np.frombuffer(mapped, dtype=cell, offset=len(self._header(layer)))
            cells.append(flat.reshape(layer.units, self.n_rows))  # (H, N) cells of d_head
        return maps, cells

    def _checksums(self, layer: LayerInfo) -> list[int | None]:
        start, n_bytes = len(self._header(layer)), self._size(layer) - len(self._header(layer))
        offsets = range(start, start + n_bytes, n_bytes // layer.units)
        with open(self.partial / layer.file, "rb", buffering=0) as file:
            return [checksum(file.fileno(), at, n_bytes // layer.units) for at in offsets]

    def _sync(self, layer: LayerInfo) -> None:
        # Not mmap.flush: it holds Python's lock while the disk works, fsync does not.
        descriptor = os.open(self.partial / layer.file, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _write_manifest(self, progress: Progress, *, complete: bool) -> None:
        state = {
            "complete": complete,
            "rows_done": progress.rows,
            "sequences_done": progress.sequences,
            "batching": [list(entry) for entry in progress.batching],
        }
        write_atomically(self.partial / MANIFEST, seal(self.manifest | state))

    def _write_rows(self, rows: RowFields) -> None:
        with open(self.partial / ROWS, "wb") as file:
            file.write(rows_header(self.n_rows))
            for piece in _all_pieces(rows):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())

    def _files(self, rows: RowFields) -> dict[str, dict[str, Any]]:
        files: dict[str, dict[str, Any]] = {
            layer.file: {"bytes": self._size(layer)} for layer in self.layers
        }
        value = zlib.crc32(rows_header(self.n_rows))
        for piece in _all_pieces(rows):
            value = zlib.crc32(piece, value)
        n_bytes = len(rows_header(self.n_rows)) + 4 * self.n_rows * len(ROW_FIELDS)
        files[ROWS] = {"bytes": n_bytes, "crc32": [value]}
        return files

    def _header(self, layer: LayerInfo) -> bytes:
        return header(layer.units, self.n_rows, layer.width, self.dtype)

    def _size(self, layer: LayerInfo) -> int:
        numbers = data_bytes(layer.units, self.n_rows, layer.width, self.dtype)
        return len(self._header(layer)) + numbers

    def _bytes(self) -> int:
        return sum(int(entry["bytes"]) for entry in self.manifest["files"].values())


def _all_pieces(rows: RowFields) -> Iterator[memoryview]:
    """The numbers of the rows' file: one tensor after another, never all in memory."""
    for field in ROW_FIELDS:
        for piece in rows(field):
            yield piece.data
