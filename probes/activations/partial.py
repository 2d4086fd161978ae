"""A cache that is not complete yet: its files, and how far each shard of its rows has come."""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from probes.activations.layout import (
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
from probes.activations.shard_states import (
    MACHINE,
    partial_directory,
    processors,
    read_state,
    remove_states,
    require_same_machine,
    write_state,
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
from probes.passes.progress import Progress
from probes.passes.shards import WHOLE, Shard

RowFields = Callable[[str], Iterable[npt.NDArray[np.int32]]]
"""The numbers of one of ``ROW_FIELDS`` in the order of the rows, some at a time."""


class PartialCache:
    """The directory ``<key>.partial`` of a cache that is being extracted.

    A single process keeps its progress in the manifest. Where the rows are split over processes,
    the manifest holds the number of shards, and each shard keeps its progress in a file that only
    it writes, ``shard_000.json``. The finished cache is the same in both cases.
    """

    def __init__(
        self,
        directory: Path,
        manifest: dict[str, Any],
        layers: Sequence[LayerInfo],
        n_rows: int,
        rows: RowFields,
        shard: Shard,
        span: tuple[int, int],
    ) -> None:
        """directory: of the finished cache. manifest: what is known before: key, fields, dtype,
        plan, versions. span: first and last position (exclusive) of the shard in the plan."""
        self.directory = directory
        self.path = partial_directory(directory)
        self.layers, self.n_rows = list(layers), n_rows
        self.shard, self.span = shard, span
        self.dtype: str = manifest["dtype"]
        self.rows = rows
        self.manifest = manifest | {
            "rows": n_rows,
            "head_map": head_map(self.layers),
            "files": self._files(),
        }

    @property
    def n_bytes(self) -> int:
        """Bytes on disk of all files but the manifest."""
        return sum(int(entry["bytes"]) for entry in self.manifest["files"].values())

    def resumed(self) -> Progress | None:
        """Of this shard's last checkpoint; None where what is there cannot be gone on with."""
        if not self.path.is_dir():
            return None
        try:
            stored = read_manifest(self.path)
        except UserError:
            return None
        # A cache whose last step failed between the manifest and the renaming is complete.
        if not stored["complete"] and stored.get("shards", 1) != self.shard.count:
            return None
        ours = {k: v for k, v in self.manifest.items() if k not in ("files", "rounding")}
        differing = {k for k, v in ours.items() if stored.get(k) != v}
        if self.shard != WHOLE and not stored["complete"] and differing <= set(MACHINE):
            require_same_machine(self.path, self.shard.index, stored, ours)
        if differing:
            return None
        for name, entry in self.manifest["files"].items():
            path = self.path / name
            if not path.exists() or path.stat().st_size != entry["bytes"]:
                return None
        rows = self.manifest["files"][ROWS]
        with open(self.path / ROWS, "rb", buffering=0) as file:
            if [checksum(file.fileno(), 0, rows["bytes"])] != rows["crc32"]:
                return None
        if "rounding" in stored:  # as the run measured it that began the cache
            self.manifest["rounding"] = stored["rounding"]
        if self.shard == WHOLE:
            return _progress(stored)
        if stored["complete"]:
            return Progress(self.span[1])
        state = read_state(self.path, self.shard.index)
        return Progress(self.span[0]) if state is None else _progress(state)

    def reserve(self) -> None:
        """Write headers and rows, and give every file its final size.

        Raises:
            UserError: where the disk is too small or cannot be written.
        """
        parent = self.directory.parent
        with disk_errors(parent, self.n_bytes):
            if self.n_bytes > free_bytes(parent):
                raise UserError(
                    f"cache_dir={parent}: the activations need {size(self.n_bytes)}, and the disk "
                    f"has {size(free_bytes(parent))} free",
                    fix="cache_dir=DIRECTORY_ON_A_LARGER_DISK, or fewer layers=",
                )
            self.path.mkdir()
            try:
                for layer in self.layers:
                    with open(self.path / layer.file, "wb") as file:
                        reserve(file.fileno(), self._size(layer))
                        file.write(self.header(layer))
                self._write_rows()
                shards = {} if self.shard == WHOLE else {"shards": self.shard.count}
                self._write_manifest(Progress(), complete=False, **shards)
                sync_directory(parent)
            except BaseException:
                self.discard()
                raise

    def save(self, progress: Progress) -> None:
        """Store a progress of this shard; all up to it must be durable already."""
        if self.shard == WHOLE:
            self._write_manifest(progress, complete=False)
            return
        first, end = self.span
        state = _state(progress) | {"first": first, "end": end}
        write_state(self.path, self.shard.index, state, self.manifest["device"])

    def sync(self, layer: LayerInfo) -> None:
        """Make what was written of a layer durable."""
        # Not mmap.flush: it holds Python's lock while the disk works, fsync does not.
        descriptor = os.open(self.path / layer.file, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def total(self, progress: Progress) -> Progress | None:
        """The progress of all shards together, this one's being ``progress``; None where one of
        them is not done."""
        if self.shard == WHOLE:
            return progress
        stored = read_manifest(self.path)
        if stored["complete"]:
            return _progress(stored)
        batching: list[tuple[int, int]] = []
        position = rows = 0
        for index in range(self.shard.count):
            state = read_state(self.path, index)
            if (
                state is None
                or state["first"] != position
                or state["end"] != state["sequences_done"]
            ):
                return None
            of_shard = _progress(state)
            position, rows = of_shard.sequences, rows + of_shard.rows
            # A shard that begins with the batch size of the one before adds no entry.
            batching += [x for x in of_shard.batching if not batching or batching[-1][1] != x[1]]
        return Progress(position, rows, tuple(batching))

    def complete(self, progress: Progress) -> None:
        """Checksum all files, make them durable, and give the directory its final name."""
        with ThreadPoolExecutor(2) as pool:  # one waits for the disk, one computes
            synced = [pool.submit(self.sync, layer) for layer in self.layers]
            for layer, checksums in zip(
                self.layers, pool.map(self._checksums, self.layers), strict=True
            ):
                self.manifest["files"][layer.file]["crc32"] = checksums
            for future in synced:
                future.result()
        if self.shard != WHOLE:
            mixed = processors(self.path, self.shard.count)
            if len(mixed) > 1:  # last bits may differ from those of one process
                self.manifest["processors"] = mixed
        self._write_manifest(progress, complete=True)
        remove_states(self.path)
        os.rename(self.path, self.directory)
        sync_directory(self.directory.parent)

    def discard(self) -> None:
        """Remove everything that has been written, by whichever shard."""
        if self.path.exists():
            shutil.rmtree(self.path)

    def header(self, layer: LayerInfo) -> bytes:
        """The bytes before the numbers in the file of a layer."""
        return header(layer.units, self.n_rows, layer.width, self.dtype)

    def _size(self, layer: LayerInfo) -> int:
        numbers = data_bytes(layer.units, self.n_rows, layer.width, self.dtype)
        return len(self.header(layer)) + numbers

    def _checksums(self, layer: LayerInfo) -> list[int | None]:
        """One for each head."""
        start, n_bytes = len(self.header(layer)), self._size(layer) - len(self.header(layer))
        offsets = range(start, start + n_bytes, n_bytes // layer.units)
        with open(self.path / layer.file, "rb", buffering=0) as file:
            return [checksum(file.fileno(), at, n_bytes // layer.units) for at in offsets]

    def _write_manifest(self, progress: Progress, *, complete: bool, **more: int) -> None:
        state = _state(progress) | {"complete": complete}
        write_atomically(self.path / MANIFEST, seal(self.manifest | state | more))

    def _write_rows(self) -> None:
        with open(self.path / ROWS, "wb") as file:
            file.write(rows_header(self.n_rows))
            for piece in _all_pieces(self.rows):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())

    def _files(self) -> dict[str, dict[str, Any]]:
        files: dict[str, dict[str, Any]] = {
            layer.file: {"bytes": self._size(layer)} for layer in self.layers
        }
        value = zlib.crc32(rows_header(self.n_rows))
        for piece in _all_pieces(self.rows):
            value = zlib.crc32(piece, value)
        n_bytes = len(rows_header(self.n_rows)) + 4 * self.n_rows * len(ROW_FIELDS)
        files[ROWS] = {"bytes": n_bytes, "crc32": [value]}
        return files


def _state(progress: Progress) -> dict[str, Any]:
    """A progress as JSON."""
    return {
        "rows_done": progress.rows,
        "sequences_done": progress.sequences,
        "batching": [list(entry) for entry in progress.batching],
    }


def _progress(state: dict[str, Any]) -> Progress:
    batching = tuple((int(position), int(tokens)) for position, tokens in state["batching"])
    return Progress(int(state["sequences_done"]), int(state["rows_done"]), batching)


def _all_pieces(rows: RowFields) -> Iterator[memoryview]:
    """The numbers of the rows' file: one tensor after another, never all in memory."""
    for field in ROW_FIELDS:
        for piece in rows(field):
            yield piece.data
