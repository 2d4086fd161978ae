"""Many slices of one array at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

LongArray = npt.NDArray[np.int64]


def ends(counts: npt.NDArray[Any]) -> LongArray:
    """0 and the sums of the first one, two, ... of the counts.

    >>> ends(np.array([2, 0, 3])).tolist()
    [0, 2, 2, 5]
    """
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


def ranges(start: LongArray, count: LongArray) -> LongArray:
    """``[s, s + 1, ..., s + c - 1]`` for each start and count, one after another.

    >>> ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    before = np.cumsum(count) - count
    numbers: LongArray = np.arange(int(count.sum())) + np.repeat(start - before, count)
    return numbers
