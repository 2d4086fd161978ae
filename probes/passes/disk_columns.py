"""Columns of numbers that are appended to files and read through maps, so they take no memory."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from probes.core.process import drop_pages

IntArray = npt.NDArray[np.int32]


class DiskColumns:
    """Columns of int32, each in an anonymous temporary file, deleted when no longer referenced."""

    def __init__(self, directory: Path | None, names: Sequence[str]) -> None:
        """directory: on a disk with room; None for the system's directory for temporary files."""
        self._files: dict[str, IO[bytes]] = {
            name: tempfile.TemporaryFile(dir=directory)  # noqa: SIM115
            for name in names
        }
        self._maps: list[mmap.mmap] = []

    def append(self, name: str, values: npt.NDArray[Any]) -> None:
        """Add values at the end of a column."""
        self._files[name].write(np.ascontiguousarray(values, dtype=np.int32).data)

    def finish(self) -> dict[str, IntArray]:
        """All columns, read-only; nothing can be appended any more."""
        columns = {}
        for name, file in self._files.items():
            columns[name] = np.empty(0, dtype=np.int32)
            if file.tell():
                file.flush()
                self._maps.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
                columns[name] = np.frombuffer(self._maps[-1], dtype=np.int32)
        self.close()
        return columns

    def close(self) -> None:
        """Delete the files."""
        for file in self._files.values():
            file.close()

    def release(self) -> None:
        """Give the pages that were read back to the system, which may keep them or not."""
        for mapped in self._maps:
            drop_pages(mapped)
