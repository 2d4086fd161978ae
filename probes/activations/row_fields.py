"""What ``rows.safetensors`` holds: where each row of a cache was read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from probes.activations.partial import RowFields
from probes.passes.alignment import Alignment

ROWS_AT_ONCE = 1 << 20
"""Rows of the index that are copied into the cache at a time."""


def row_fields(alignment: Alignment) -> RowFields:
    """The columns of ``ROW_FIELDS``, read from the alignment piece by piece."""
    example = alignment.example  # (S,)
    order = np.lexsort((np.arange(len(example)), example))
    rank = np.empty(len(example), dtype=np.int32)  # (S,) of a sequence among those of its text
    rank[order] = np.arange(len(example)) - np.searchsorted(example[order], example[order])
    columns: dict[str, Callable[[slice], npt.NDArray[np.int32]]] = {
        "unit": lambda at: alignment.unit[at],
        "example": lambda at: example[alignment.sequence[at]],
        "window": lambda at: rank[alignment.sequence[at]],
        "first_token": lambda at: alignment.first[at],
        "last_token": lambda at: alignment.last[at],
    }

    def pieces(field: str) -> Iterator[npt.NDArray[np.int32]]:
        for start in range(0, len(alignment), ROWS_AT_ONCE):
            yield columns[field](slice(start, start + ROWS_AT_ONCE))
            alignment.release()

    return pieces
