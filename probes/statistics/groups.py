"""Sums over groups: what every resampling of whole groups is computed from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Groups:
    """Which group each row belongs to, numbered without gaps.

    >>> groups = Groups.of(np.array([7, 3, 7]))
    >>> groups.names, groups.sum(np.array([[1, 2, 4]]))
    (array([3, 7]), array([[2., 5.]]))
    """

    names: Codes
    """(G,) the group codes that occur, ascending."""
    index: npt.NDArray[np.int64]
    """(n,) position in ``names`` of each row's group."""
    sizes: npt.NDArray[np.int64]
    """(G,) rows in each group."""
    order: npt.NDArray[np.int64]
    """(n,) rows sorted by group; rows of one group keep their order."""
    starts: npt.NDArray[np.int64]
    """(G,) first position of each group in ``order``."""

    @classmethod
    def of(cls, codes: Codes) -> Groups:
        """Number the groups of rows with these ``codes`` (n,); there must be a row."""
        names, index, sizes = np.unique(codes, return_inverse=True, return_counts=True)
        order = np.argsort(index, kind="stable")
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        return cls(names, index.astype(np.int64), sizes, order, starts)

    def __len__(self) -> int:
        return len(self.names)

    def sum(self, values: npt.NDArray[np.generic]) -> Array:
        """Sum of the rows of each group: (..., n) -> (..., G) in float64."""
        ordered = values[..., self.order]
        return np.add.reduceat(ordered, self.starts, axis=-1, dtype=np.float64)
