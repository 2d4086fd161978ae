"""Standardised rows of a wide head that are not kept, but made again for each pass over them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from probes.solver.buffers import Workspace
from probes.solver.selected_rows import SelectedRows


@dataclass(frozen=True)
class RemadeRows:
    """Rows ``(z - shift) * stretch`` of one head, bit for bit what a copy of them would hold.

    A copy grows with the rows. Making one block of them in a processor's cache and multiplying it
    there takes about the time of fetching it from a copy, which has twice the bytes of what is
    stored in half precision.

    It indexes like a tensor (1, N, D): ``rows[:, index]`` is a tensor (1, n, D).
    """

    z: SelectedRows
    """(1, M, D) as they are stored."""
    rows: slice | Tensor
    """Which of the M: all, or their positions (N,)."""
    shift: Tensor
    """(1, 1, D) float32."""
    stretch: Tensor
    """(1, 1, D) float32."""
    shape: torch.Size
    """(1, K, B, D): K blocks of B rows, which the last one may not fill."""
    count: int
    """N."""
    space: Workspace

    @property
    def is_cuda(self) -> bool:
        """Always False: a GPU's memory holds a copy."""
        return False

    @property
    def dtype(self) -> torch.dtype:
        """Of the rows: float32."""
        return self.shift.dtype

    def __getitem__(self, at: tuple[slice, slice | Tensor]) -> Tensor:
        """See the class."""
        assert at[0] == slice(None), "there is one head"
        return self.z[:, self._place(at[1])].float().sub(self.shift).mul_(self.stretch)

    def blocks(self, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
        """Which rows a block has, and the block (1, B, D), with zeros where they do not fill it.

        It is valid until the next one is asked for.
        """
        _, _, B, D = self.shape
        for rows, places in self._places:
            block = self.space.empty("remade", (1, B, D), self.shift)
            block[:, rows.stop - rows.start :] = 0
            filled = block[:, : rows.stop - rows.start]
            # Converted first: subtracting numbers of two dtypes takes half as long again.
            self.z.fill(filled, places).sub_(self.shift).mul_(self.stretch)
            yield rows, block.to(dtype)

    def every(self, step: int) -> RemadeSample:
        """Every ``step``-th row of each block, as a copy's ``x[0, :, ::step].flatten(0, 1)``."""
        _, K, B, _ = self.shape
        positions = torch.arange(0, K * B, B)[:, None] + torch.arange(0, B, step)
        return RemadeSample(self, positions.view(-1).clamp_max_(self.count - 1))

    @cached_property
    def _places(self) -> list[tuple[slice, list[slice | Tensor]]]:
        """Of each block the rows, and where they are stored."""
        _, K, B, _ = self.shape
        blocks = [slice(at, min(at + B, self.count)) for at in range(0, K * B, B)]
        return [(rows, self.z.places(self._place(rows))) for rows in blocks]

    def _place(self, at: slice | Tensor) -> slice | Tensor:
        """Positions among the M."""
        return at if isinstance(self.rows, slice) else self.rows[at]


@dataclass(frozen=True)
class RemadeSample:
    """Some of the rows, which are taken like those of a tensor (n, D)."""

    rows: RemadeRows
    positions: Tensor
    """(n,). What would be padding is the last row, whose weight is zero there."""

    @property
    def shape(self) -> torch.Size:
        """(n, D), as of a tensor."""
        return torch.Size((len(self.positions), self.rows.shape[-1]))

    def __getitem__(self, at: slice | Tensor) -> Tensor:
        """A tensor (m, D)."""
        return self.rows[:, self.positions[at]][0]

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """The same, as of a tensor; dim: 0."""
        assert dim == 0
        return self[index]
