"""Batched products of rows with parameters, laid out for the caches of a CPU or for a GPU."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from probes.solver import tuning
from probes.solver.remade_rows import RemadeRows, RemadeSample
from probes.solver.selected_rows import SelectedRows


def on_gpu(x: Tensor | SelectedRows | RemadeRows) -> bool:
    """True if x is on a GPU, which wants few large operations, not ones that stay in a cache."""
    return x.is_cuda


def row_blocks(x: Tensor | RemadeRows, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
    """The rows of x (H, N, D) in ``dtype``: all at once if they have it, else in converted blocks,
    so that float64 arithmetic on many float32 rows needs no second copy of them.
    """
    if isinstance(x, RemadeRows):
        for at, block in x.blocks(dtype):
            yield at, block[:, : at.stop - at.start]
        return
    if x.dtype == dtype:
        yield slice(None), x
        return
    H, N, D = x.shape
    step = max(1, tuning.CONVERTED_BYTES // (H * D * torch.finfo(dtype).bits // 8))
    for start in range(0, N, step):
        yield slice(start, start + step), x[:, start : start + step].to(dtype)


def blocks_of(rows: int, like: Tensor | SelectedRows) -> tuple[int, int]:
    """Equal blocks (number, rows in each) that hold ``rows`` rows on the device of ``like``.

    A library's one product of few columns with many rows reaches a fraction of the speed of a batch
    of small ones, each of which one thread does in its own cache; the same holds for a softmax
    over classes whose logits are far apart in memory. On a GPU there is one block.
    """
    threads = torch.get_num_threads()
    if on_gpu(like) or rows < tuning.BLOCK_ROWS:
        return 1, rows
    count = threads * -(-rows // (tuning.BLOCK_ROWS * threads))
    size = -(-rows // count)
    return -(-rows // size), size  # no block of a million rows is padding alone


class Rows:
    """Rows x (H, K, B, D) of some heads in K blocks of B, and which of the heads are still fitted.

    The blocks of neighbouring heads form one batch of products. The last rows may be padding:
    zeros, whose residuals are zero.
    """

    def __init__(self, x: Tensor | RemadeRows, count: int) -> None:
        """x (H, K, B, D); only the first ``count`` of the K * B rows of a head are no padding."""
        self.x, self.count = x, count
        self.heads = list(range(x.shape[0]))

    def every(self, step: int) -> Tensor:
        """Every ``step``-th row of all heads of x, without padding: (H, n, D)."""
        if isinstance(self.x, RemadeRows):
            return self.x[:, ::step]
        return self.x.flatten(1, 2)[:, : self.count : step]

    def every_of_blocks(self, head: int, step: int) -> Tensor | RemadeSample:
        """Every ``step``-th row of each block of one head, padding too: (n, D)."""
        if isinstance(self.x, RemadeRows):
            return self.x.every(step)
        return self.x[head, :, ::step].flatten(0, 1)

    def sums(self, weights: Tensor) -> Tensor:
        """Sums of the rows under weights (H, N) of the heads still fitted: (H, D)."""
        if isinstance(self.x, RemadeRows):
            total = weights.new_zeros(1, self.x.shape[-1])
            for at, x in row_blocks(self.x, weights.dtype):
                total += weights[:, at] @ x[0]
            return total
        x = self.every(1)
        pairs = zip(self.heads, weights, strict=True)
        return torch.stack([weight @ x[head].to(weight.dtype) for head, weight in pairs])

    def keep(self, heads: list[int]) -> None:
        """Go on with these positions of the present heads."""
        self.heads = [self.heads[i] for i in heads]
        if on_gpu(self.x) and len(self.heads) < self.x.shape[0]:
            assert isinstance(self.x, Tensor)
            self.x = self.x[heads]
            self.heads = list(range(len(heads)))

    def logits(self, parameters: Tensor, out: Tensor) -> Tensor:
        """parameters (H, R, D + 1), the last one the intercept -> out (H, K, R, B)."""
        K = self.x.shape[1]
        each = parameters[:, None].expand(-1, K, -1, -1)  # (H, K, R, D + 1)
        alone = (
            parameters.shape[1] == 1
            and self.x.shape[-1] >= tuning.COLUMN_AS_MATRIX_WIDTH
            and not on_gpu(self.x)
        )
        for run, heads in self._runs():
            chosen = each[run].flatten(0, 1)
            part = out[run].flatten(0, 1)
            for blocks, at, x in self._blocks(heads, parameters.dtype):
                some = part[blocks, :, at]
                weight, bias = chosen[blocks, :, :-1], chosen[blocks, :, -1:]
                if alone and some.is_contiguous():
                    torch.baddbmm(bias, x, weight.mT, out=some.view(*some.shape[::2], 1))
                else:
                    torch.baddbmm(bias, weight, x.mT, out=some)
        return out

    def gradient(self, residual: Tensor) -> Tensor:
        """residual (H, K, R, B) -> its sums against [x, 1]: (H, R, D + 1)."""
        H, K, R, _ = residual.shape
        sums = residual.new_zeros(H, R, self.x.shape[-1] + 1)
        for run, heads in self._runs():
            part = residual[run].flatten(0, 1)
            if isinstance(self.x, RemadeRows):
                products = residual.new_empty(K, R, self.x.shape[-1])
                for block, _, x in self._blocks(heads, residual.dtype):
                    torch.bmm(part[block], x, out=products[block])
                sums[run, :, :-1] = products.unflatten(0, (-1, K)).sum(1)
                continue
            for _, at, x in self._blocks(heads, residual.dtype):
                sums[run, :, :-1] += torch.bmm(part[..., at], x).unflatten(0, (-1, K)).sum(1)
        torch.sum(residual, (1, 3), out=sums[..., -1])
        return sums

    def _blocks(self, heads: slice, dtype: torch.dtype) -> Iterator[tuple[slice, slice, Tensor]]:
        """Ranges of the blocks of some heads and of rows in each, and these rows (k, b, D)."""
        if isinstance(self.x, RemadeRows):
            for k, (_, x) in enumerate(self.x.blocks(dtype)):
                yield slice(k, k + 1), slice(None), x
            return
        for at, x in row_blocks(self.x[heads].flatten(0, 1), dtype):
            yield slice(None), at, x

    def _runs(self) -> Iterator[tuple[slice, slice]]:
        """Ranges of neighbouring heads: among those still fitted, and in x."""
        start = 0
        for end in range(1, len(self.heads) + 1):
            if end == len(self.heads) or self.heads[end] != self.heads[end - 1] + 1:
                first = self.heads[start]
                yield slice(start, end), slice(first, first + end - start)
                start = end
