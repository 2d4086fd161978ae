"""The two products that every pass over the rows consists of, in the order the device likes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK_BYTES = 32 << 20
BLOCK_ROWS = 1024
"""Rows of a head that one thread of a CPU multiplies at a time."""
WIDE = 64
"""Features from which on a CPU multiplies rows with a single column, not it with them: that takes
half the time, as its sums run over neighbouring numbers."""


def batched(x: Tensor) -> bool:
    """Whether the device of x wants few large operations, not ones that stay in a cache."""
    return x.is_cuda


def row_blocks(x: Tensor, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
    """The rows of x (H, N, D) in ``dtype``: all at once if they have it, else in converted blocks,
    so that float64 arithmetic on many float32 rows needs no second copy of them.
    """
    if x.dtype == dtype:
        yield slice(None), x
        return
    H, N, D = x.shape
    step = max(1, BLOCK_BYTES // (H * D * torch.finfo(dtype).bits // 8))
    for start in range(0, N, step):
        yield slice(start, start + step), x[:, start : start + step].to(dtype)


def blocks_of(rows: int, like: Tensor) -> tuple[int, int]:
    """Equal blocks (number, rows in each) that hold ``rows`` rows on the device of ``like``.

    A library's one product of few columns with many rows reaches a fraction of the speed of a batch
    of small ones, each of which a thread does by itself in its own cache, and so does a softmax
    over classes whose logits lie far apart. A GPU is not asked for that.
    """
    threads = torch.get_num_threads()
    if batched(like) or rows < BLOCK_ROWS:
        return 1, rows
    count = threads * -(-rows // (BLOCK_ROWS * threads))
    return count, -(-rows // count)


class Rows:
    """Rows x (H, K, B, D) of some heads, in K blocks, of which fewer heads are needed in time.

    All blocks of neighbouring heads are one batch of products. The last rows may be padding:
    zeros, whose residuals are zero.
    """

    def __init__(self, x: Tensor, count: int) -> None:
        """x (H, K, B, D), the first ``count`` of the K * B rows of each head its own."""
        self.x, self.count = x, count
        self.heads = list(range(x.shape[0]))

    def flat(self, head: int) -> Tensor:
        """The rows of one head without padding: (count, D)."""
        return self.x[head].flatten(0, 1)[: self.count]

    def keep(self, heads: list[int]) -> None:
        """Go on with these positions of the present heads."""
        self.heads = [self.heads[i] for i in heads]
        if batched(self.x) and len(self.heads) < self.x.shape[0]:
            self.x = self.x[heads]
            self.heads = list(range(len(heads)))

    def logits(self, parameters: Tensor, out: Tensor) -> Tensor:
        """parameters (H, R, D + 1), the last one the intercept -> out (H, K, R, B)."""
        K = self.x.shape[1]
        each = parameters[:, None].expand(-1, K, -1, -1)  # (H, K, R, D + 1)
        alone = parameters.shape[1] == 1 and self.x.shape[-1] >= WIDE and not batched(self.x)
        for run, heads in self._runs():
            own = each[run].flatten(0, 1)
            part = out[run].flatten(0, 1)
            for at, x in row_blocks(self.x[heads].flatten(0, 1), parameters.dtype):
                weight, bias, some = own[..., :-1], own[..., -1:], part[..., at]
                if alone and some.is_contiguous():
                    torch.baddbmm(bias, x, weight.mT, out=some.view(*some.shape[::2], 1))
                else:
                    torch.baddbmm(bias, weight, x.mT, out=some)
        return out

    def gradient(self, residual: Tensor) -> Tensor:
        """residual (H, K, R, B) -> its sums against [x, 1]: (H, R, D + 1)."""
        H, K, R, _ = residual.shape
        found = residual.new_zeros(H, R, self.x.shape[-1] + 1)
        for run, heads in self._runs():
            part = residual[run].flatten(0, 1)
            for at, x in row_blocks(self.x[heads].flatten(0, 1), residual.dtype):
                found[run, :, :-1] += torch.bmm(part[..., at], x).unflatten(0, (-1, K)).sum(1)
        torch.sum(residual, (1, 3), out=found[..., -1])
        return found

    def _runs(self) -> Iterator[tuple[slice, slice]]:
        """Positions of present heads that lie side by side, and where in x they lie."""
        start = 0
        for end in range(1, len(self.heads) + 1):
            if end == len(self.heads) or self.heads[end] != self.heads[end - 1] + 1:
                first = self.heads[start]
                yield slice(start, end), slice(first, first + end - start)
                start = end
