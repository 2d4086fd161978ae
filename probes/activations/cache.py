"""Reading an activation cache: memory-mapped layers, or chunks of heads into a reused buffer."""

from __future__ import annotations

import contextlib
import mmap
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load_file
from torch import Tensor

from probes.activations.dtypes import DTYPES
from probes.activations.layout import (
    MANIFEST,
    ROW_FIELDS,
    ROWS,
    LayerInfo,
    damaged,
    data_bytes,
    header,
    layers_of,
    read_manifest,
)
from probes.core.cores import available_cores
from probes.core.errors import UserError
from probes.core.files import PIECE, checksum, read_exactly

SMALL = 4 << 20
"""Bytes that are read in less time than it takes to start threads on a busy machine."""
READERS = max(2, min(8, available_cores()))
"""Threads: some wait for the disk while others check and convert."""


@dataclass(frozen=True)
class Cache:
    """Activations of one site kind on the rows of one corpus, complete and undamaged.

    >>> cache = Cache.open("outputs/cache/9c1f0a52d3e4b687")       # doctest: +SKIP
    >>> cache.layer(1)[1]                        # head 1 of layer 1   # doctest: +SKIP
    tensor([[...]], dtype=torch.float16)         # (rows, d_head)
    """

    directory: Path
    manifest: dict[str, Any]
    """Schema version, fields of the key, head map, sizes, checksums, tool versions."""
    layers: list[LayerInfo]
    """In the order of the forward pass."""
    fresh: bool = False
    """True where this process has just extracted it, so nothing was reused."""
    _checked: set[tuple[str, int]] = field(default_factory=set, repr=False, compare=False)

    @classmethod
    def open(cls, directory: str | Path, *, layers: list[int] | None = None) -> Cache:
        """Open a finished cache; only headers and sizes are read now.

        The numbers are checked against their checksums when they are first read.
        ``layers`` shows only these layers of a larger cache.

        Raises:
            UserError: for a cache that is missing, incomplete or damaged.
        """
        directory = Path(directory)
        if not directory.is_dir():
            raise UserError(f"there is no activation cache at {directory}")
        manifest = read_manifest(directory)
        if not manifest["complete"]:
            raise UserError(
                f"activation cache {directory} is incomplete: {manifest.get('rows_done', 0)} of "
                f"{manifest['rows']} rows",
                fix="the command that began it: it resumes",
            )
        shown = [x for x in layers_of(manifest) if layers is None or x.layer in layers]
        cache = cls(directory, manifest, shown)
        for layer in shown:
            cache._check_layout(layer)
        cache._check_rows()
        return cache

    @property
    def key(self) -> str:
        """Name of the directory: hash of everything that changes the numbers."""
        return str(self.manifest["key"])

    @property
    def n_rows(self) -> int:
        """Rows of each layer."""
        return int(self.manifest["rows"])

    @property
    def dtype(self) -> torch.dtype:
        """As stored."""
        return DTYPES[self.manifest["dtype"]].dtype

    @property
    def n_bytes(self) -> int:
        """Bytes on disk of the layers shown."""
        return sum(self._size(layer) for layer in self.layers)

    @cached_property
    def rows(self) -> dict[str, npt.NDArray[np.int32]]:
        """For each row: ``unit`` and ``example`` of the corpus, ``window`` of a long text,
        ``first_token`` and ``last_token`` read (inclusive, special tokens counted)."""
        self._check_rows()
        path = self.directory / ROWS
        try:
            rows = load_file(path)
        except Exception as error:
            raise damaged(path, str(error)) from error
        if set(rows) != set(ROW_FIELDS) or any(len(r) != self.n_rows for r in rows.values()):
            raise damaged(path, f"holds {sorted(rows)}")
        return rows

    def info(self, layer: int, stream: str | None = None) -> LayerInfo:
        """The layer of that number; a model with several streams needs the stream's name."""
        infos = [x for x in self.layers if x.layer == layer and stream in (None, x.stream)]
        if len(infos) == 1:
            return infos[0]
        names = ", ".join(f"{x.stream} {x.layer}" for x in self.layers)
        if infos:
            raise UserError(
                f"layer {layer} exists in several streams",
                allowed=names,
                fix=f"stream={infos[0].stream!r}",
            )
        raise UserError(f"the cache has no layer {stream or ''} {layer}", allowed=names)

    def layer(self, layer: int, stream: str | None = None) -> Tensor:
        """All heads of a layer, shape (heads, rows, d_head), memory-mapped.

        The first call reads the file once to check it. Changing the tensor in place changes
        memory only, never the file.
        """
        return self.mapped(self.info(layer, stream))

    def mapped(self, info: LayerInfo, heads: slice = slice(None)) -> Tensor:
        """Some heads of a layer as ``layer`` gives them: a map, which takes no memory that the
        system could not have back.

        Raises:
            UserError: where the bytes of these heads differ from their checksums when they are
                first asked for, or the file has another size since.
        """
        self._check_layout(info)  # beyond the end of a file that was cut a map kills the process
        units = range(info.units)[heads]
        unchecked = [unit for unit in units if (info.file, unit) not in self._checked]
        if unchecked:
            self._verify_units(info, unchecked)
        with open(self.directory / info.file, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        start = len(self._header(info))
        if units and hasattr(mmap, "MADV_WILLNEED"):  # the disk works ahead
            begin = start + units[0] * self._unit_bytes(info)
            end = start + (units[-1] + 1) * self._unit_bytes(info)
            begin -= begin % mmap.PAGESIZE
            mapped.madvise(mmap.MADV_WILLNEED, begin, end - begin)
        flat = torch.frombuffer(mapped, dtype=self.dtype, offset=start)
        return flat.view(info.units, self.n_rows, info.width)[heads]  # (H, N, D)

    def read(
        self,
        info: LayerInfo,
        heads: slice = slice(None),
        *,
        out: Tensor | None = None,
    ) -> Tensor:
        """Copy some heads of a layer from disk: (heads, rows, d_head), checked on the way.

        Reads the file once, in order, in pieces that stay in the processor's cache while they
        are checked and converted. ``out`` is filled and returned where it is given (contiguous,
        CPU; its dtype decides the dtype): a reused buffer avoids fresh pages, which cost ten
        times a warm copy.

        Raises:
            UserError: where the bytes differ from their checksums.
        """
        begin, end, step = heads.indices(info.units)
        if step != 1 or end <= begin:
            raise ValueError(f"heads must be a non-empty range of step 1, not {heads}")
        if out is None:
            out = torch.empty(end - begin, self.n_rows, info.width, dtype=self.dtype)
        if out.shape != (end - begin, self.n_rows, info.width) or not out.is_contiguous():
            raise ValueError(f"out has shape {tuple(out.shape)}, needed {end - begin} heads")
        with self._opened(info, range(begin, end)) as descriptor:

            def head(unit: int) -> None:
                self._read_head(info, unit, descriptor, out[unit - begin])

            _each(range(begin, end), head, self._unit_bytes(info))
        return out

    def verify(self) -> None:
        """Read everything and compare it with the checksums; ``UserError`` where it differs."""
        for layer in self.layers:
            self._verify_units(layer, range(layer.units))
        self._check_rows()

    def _verify_units(self, info: LayerInfo, units: Sequence[int]) -> None:
        start, n_bytes = len(self._header(info)), self._unit_bytes(info)
        with self._opened(info, range(min(units), max(units) + 1)) as descriptor:

            def head(unit: int) -> None:
                value = checksum(descriptor, start + unit * n_bytes, n_bytes)
                self._compare(info, unit, value)

            _each(units, head, n_bytes)

    def _read_head(self, info: LayerInfo, unit: int, descriptor: int, out: Tensor) -> None:
        """One head from disk into ``out``, converted if need be and compared on the way."""
        n_bytes, itemsize = self._unit_bytes(info), self.dtype.itemsize
        start = len(self._header(info)) + unit * n_bytes
        flat = out.view(-1)
        # Without conversion the bytes go straight to where they are wanted.
        direct = flat.dtype == self.dtype
        store: Any = flat.view(torch.uint8).numpy() if direct else bytearray(min(PIECE, n_bytes))
        target = memoryview(store)
        value: int | None = 0
        for begin in range(0, n_bytes, PIECE):
            length = min(PIECE, n_bytes - begin)
            piece = target[begin : begin + length] if direct else target[:length]
            if not read_exactly(descriptor, piece, start + begin):
                value = None
                break
            value = zlib.crc32(piece, value or 0)
            if not direct:
                numbers = torch.frombuffer(piece, dtype=self.dtype)
                flat[begin // itemsize : (begin + length) // itemsize].copy_(numbers)
        self._compare(info, unit, value)

    def _compare(self, info: LayerInfo, unit: int, value: int | None) -> None:
        expected = self.manifest["files"][info.file]["crc32"][unit]
        if value != expected:
            raise damaged(
                self.directory / info.file,
                "it ends too early" if value is None else f"head {unit} fails its checksum",
            )
        self._checked.add((info.file, unit))

    @contextlib.contextmanager
    def _opened(self, info: LayerInfo, heads: range) -> Iterator[int]:
        path = self.directory / info.file
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise damaged(path, str(error.strerror)) from error
        try:
            if hasattr(os, "posix_fadvise"):
                # The disk works ahead, while the threads check and convert.
                n_bytes = self._unit_bytes(info)
                offset = len(self._header(info)) + heads.start * n_bytes
                os.posix_fadvise(descriptor, offset, len(heads) * n_bytes, os.POSIX_FADV_WILLNEED)
            yield descriptor
        finally:
            os.close(descriptor)

    def _header(self, info: LayerInfo) -> bytes:
        return header(info.units, self.n_rows, info.width, self.manifest["dtype"])

    def _unit_bytes(self, info: LayerInfo) -> int:
        return data_bytes(1, self.n_rows, info.width, self.manifest["dtype"])

    def _size(self, info: LayerInfo) -> int:
        return len(self._header(info)) + info.units * self._unit_bytes(info)

    def _check_layout(self, info: LayerInfo) -> None:
        """Size, header and checksums of one layer's file are as in the manifest."""
        path = self.directory / info.file
        expected = self._header(info)
        entry = self.manifest["files"].get(info.file)
        checksums = entry.get("crc32") if isinstance(entry, dict) else None
        if not isinstance(checksums, list) or len(checksums) != info.units:
            raise damaged(self.directory / MANIFEST, f"no checksums of {info.file}")
        try:
            with open(path, "rb") as file:
                actual, length = file.read(len(expected)), os.fstat(file.fileno()).st_size
        except OSError as error:
            raise damaged(path, str(error.strerror)) from error
        if length != self._size(info):
            raise damaged(path, f"{length} bytes, expected {self._size(info)}")
        if actual != expected:
            raise damaged(path, "its header differs from the manifest")

    def _check_rows(self) -> None:
        path = self.directory / ROWS
        try:
            with open(path, "rb", buffering=0) as file:
                value = checksum(file.fileno(), 0, os.fstat(file.fileno()).st_size)
        except OSError as error:
            raise damaged(path, str(error.strerror)) from error
        entry = self.manifest["files"].get(ROWS)
        if not isinstance(entry, dict) or entry.get("crc32") != [value]:
            raise damaged(path, "its checksum differs from the manifest")


def _each(units: Sequence[int], run: Callable[[int], None], n_bytes: int) -> None:
    """``run`` for each unit of ``n_bytes``, side by side where that is worth the threads."""
    if len(units) * n_bytes < SMALL or len(units) == 1:
        for unit in units:
            run(unit)
        return
    with ThreadPoolExecutor(READERS) as pool:
        for _ in pool.map(run, units):
            pass
