"""The two products that every pass over the rows consists of, in the order the device likes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK_BYTES = 32 << 20


def batched(x: Tensor) -> bool:
    """Whether the device of x takes many heads in one product rather than one after the other."""
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


class Rows:
    """Rows x (H, N, D) of some heads, of which fewer and fewer are still needed.

    A CPU takes one head after the other, whose rows then come from its cache; a GPU takes all
    heads in one batched product.
    """

    def __init__(self, x: Tensor) -> None:
        self.x = x
        self.heads = list(range(x.shape[0]))

    def keep(self, heads: list[int]) -> None:
        """Go on with these positions of the present heads."""
        self.heads = [self.heads[i] for i in heads]
        if batched(self.x) and len(self.heads) < self.x.shape[0]:
            self.x = self.x[heads]
            self.heads = list(range(len(heads)))

    def logits(self, parameters: Tensor, out: Tensor) -> Tensor:
        """parameters (H, R, D + 1), the last one the intercept -> out (H, R, N)."""
        weight, bias = parameters[..., :-1], parameters[..., -1:]
        if batched(self.x):
            return torch.baddbmm(bias, weight, self.x.mT, out=out)
        for at, x in row_blocks(self.x, parameters.dtype):
            for i, head in enumerate(self.heads):
                if weight.shape[1] == 1:
                    torch.mv(x[head], weight[i, 0], out=out[i, 0, at])
                else:
                    torch.addmm(bias[i], weight[i], x[head].t(), out=out[i, :, at])
        return out.add_(bias) if weight.shape[1] == 1 else out

    def gradient(self, residual: Tensor) -> Tensor:
        """residual (H, R, N) -> its sums against [x, 1]: (H, R, D + 1)."""
        H, R, _ = residual.shape
        if batched(self.x):
            found = residual.new_empty(H, R, self.x.shape[2] + 1)
            found[..., :-1] = torch.bmm(residual, self.x)
        else:
            found = residual.new_zeros(H, R, self.x.shape[2] + 1)
            for at, x in row_blocks(self.x, residual.dtype):
                for i, head in enumerate(self.heads):
                    if R == 1:
                        found[i, 0, :-1] += torch.mv(x[head].t(), residual[i, 0, at])
                    else:
                        found[i, :, :-1] += torch.mm(residual[i, :, at], x[head])
        torch.sum(residual, -1, out=found[..., -1])
        return found
