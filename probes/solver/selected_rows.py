"""Rows of activations that are fitted, taken from where they are stored when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import overload

import torch
from torch import Tensor

NEIGHBOURS = 64
"""Rows, on average, of a range of neighbours that is taken as one."""


@dataclass(frozen=True)
class SelectedRows:
    """Some rows of some units, which index like a tensor (H, N, D) and are no copy of them.

    A copy of a wide layer grows with the rows; what is stored may be a map of a file, whose pages
    the system takes back when it needs them. ``rows[heads]`` are other rows of this kind,
    ``rows[:, index]`` is a tensor (H, n, D), a copy.

    >>> some = SelectedRows(torch.arange(12.0).view(2, 3, 2), torch.tensor([2, 0]))
    >>> some.shape, some[1:][:, :1]
    (torch.Size([2, 2, 2]), tensor([[[10., 11.]]]))
    >>> together = SelectedRows(some.stored, some.rows, together=True)
    >>> together[:, :1]
    tensor([[[ 4.,  5., 10., 11.]]])
    """

    stored: Tensor
    """(U, M, W) units as they are stored."""
    rows: Tensor | None = None
    """(N,) positions among the M; None: all."""
    together: bool = False
    """One unit, H = 1, that has all U side by side: D = U * W. Else H = U and D = W."""
    units: tuple[int, ...] | None = None
    """Which of the U, where they are no neighbours; None: all."""

    @property
    def shape(self) -> torch.Size:
        """(H, N, D), as of a tensor."""
        U, M, W = self.stored.shape
        U = U if self.units is None else len(self.units)
        N = M if self.rows is None else len(self.rows)
        return torch.Size((1, N, U * W) if self.together else (U, N, W))

    def __len__(self) -> int:
        return self.shape[0]

    def dim(self) -> int:
        """Always 3."""
        return 3

    @property
    def dtype(self) -> torch.dtype:
        """As stored."""
        return self.stored.dtype

    @property
    def device(self) -> torch.device:
        """Of what is stored."""
        return self.stored.device

    @property
    def is_cuda(self) -> bool:
        """Whether it is on a GPU."""
        return self.stored.is_cuda

    @property
    def nbytes(self) -> int:
        """Bytes that a copy would take."""
        return self.shape.numel() * self.stored.itemsize

    @overload
    def __getitem__(self, at: slice | Sequence[int] | Tensor) -> SelectedRows: ...

    @overload
    def __getitem__(self, at: tuple[slice, slice | Tensor]) -> Tensor: ...

    def __getitem__(
        self, at: slice | Sequence[int] | Tensor | tuple[slice, slice | Tensor]
    ) -> SelectedRows | Tensor:
        """Heads, or rows of all heads; see the class."""
        if isinstance(at, tuple):
            assert at[0] == slice(None), "rows are taken of all heads"
            return self._taken(at[1])
        if self.together:
            return self  # its only head
        if isinstance(at, slice):
            if self.units is None:
                return replace(self, stored=self.stored[at])
            return replace(self, units=self.units[at])
        heads = torch.as_tensor(at).tolist()
        if len(heads) == 1:
            (unit,) = heads if self.units is None else (self.units[heads[0]],)
            return replace(self, stored=self.stored[unit : unit + 1], units=None)
        return replace(self, units=tuple(h if self.units is None else self.units[h] for h in heads))

    def places(self, at: slice | Tensor) -> list[slice | Tensor]:
        """Where rows are stored: ranges of neighbours, or all positions where few are."""
        return _places(at if self.rows is None else self.rows[at])

    def fill(self, out: Tensor, places: Sequence[slice | Tensor]) -> Tensor:
        """Convert the rows at these places into ``out`` (H, n, D), contiguous; returns it."""
        assert self.units is None, "all that are stored, or one head"
        U, _, W = self.stored.shape
        target = out.view(-1, U, W).transpose(0, 1) if self.together else out
        start = 0
        for place in places:
            some = self.stored[:, place]
            target[:, start : start + some.shape[1]].copy_(some)
            start += some.shape[1]
        return out

    def _taken(self, at: slice | Tensor) -> Tensor:
        some = self._of_units(at)
        return some.transpose(0, 1).flatten(1)[None] if self.together else some

    def _of_units(self, at: slice | Tensor) -> Tensor:
        """Rows as they are stored: (U, n, W)."""
        rows = at if self.rows is None else self.rows[at]
        if self.units is None:
            return _taken(self.stored, rows)
        return torch.stack([self.stored[unit, rows] for unit in self.units])


def _taken(stored: Tensor, rows: slice | Tensor) -> Tensor:
    """Rows of (U, M, W): (U, n, W). In ranges this costs a half to a fifth of taking each by its
    position."""
    parts = [stored[:, place] for place in _places(rows)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _places(rows: slice | Tensor) -> list[slice | Tensor]:
    if isinstance(rows, slice) or rows.is_cuda or not len(rows):
        return [rows]
    ends = (rows.diff() != 1).nonzero()[:, 0] + 1
    if len(ends) > len(rows) // NEIGHBOURS:
        return [rows]
    starts = [0, *ends.tolist()]
    sizes = torch.tensor([*starts, len(rows)]).diff().tolist()
    return [
        slice(first, first + size) for first, size in zip(rows[starts].tolist(), sizes, strict=True)
    ]
