"""The weighted cross-entropy of a bank of columns, element by element of its logits."""

from __future__ import annotations

import torch
from torch import Tensor

from probes.solver.buffers import Workspace
from probes.solver.rows import batched, row_blocks

MANY = 1 << 19
"""Logits from which four passes over them take less time than one call of the library's softmax."""


def probabilities(logits: Tensor, out: Tensor) -> Tensor:
    """Class probabilities of logits (..., C', N); C' = 1 is the sigmoid of class 1.

    Of many logits on a CPU the largest of a row is not subtracted first, which saves a third of the
    time: only where that goes wrong (beyond about 70 in size) is the library's softmax needed.
    """
    if logits.shape[-2] == 1:
        return torch.sigmoid(logits, out=out)
    if batched(logits) or logits.numel() < MANY:
        return torch.softmax(logits, dim=-2, out=out)
    torch.exp(logits, out=out)
    total = out.sum(-2, keepdim=True)
    least, most = torch.aminmax(total)
    if not 1e-30 < float(least) <= float(most) < 1e30:  # in any dtype, denormal numbers or not
        return torch.softmax(logits, dim=-2, out=out)
    return out.mul_(total.reciprocal_())


def log_partition(logits: Tensor) -> Tensor:
    """The part of the cross-entropy that does not depend on the label: (..., N)."""
    if logits.shape[-2] == 1:
        return torch.nn.functional.softplus(logits[..., 0, :])
    return torch.logsumexp(logits, dim=-2)


def label_moments(
    x: Tensor, labels: Tensor, weights: Tensor, columns: int, space: Workspace
) -> Tensor:
    """Sums of [x, 1] over the rows of each class: (H, P, C', D + 1).

    The labels enter value and gradient only through these, as ``<moments, parameters>``: the
    passes over the rows never look at a label.
    """
    H, _, D = x.shape
    P, N = labels.shape
    moments = weights.new_zeros(H, P, columns, D + 1)
    if columns == 1:
        mask = labels.to(weights.dtype) * weights  # (P, N)
        for at, block in row_blocks(x, weights.dtype):
            moments[..., 0, :D] += torch.matmul(mask[:, at], block)
        moments[..., 0, D] = mask.sum(-1, dtype=torch.float64)
        return moments
    for p in range(P):
        mask = space.empty("mask", (columns, N), weights).zero_()
        mask.scatter_(0, labels[p][None], weights[p][None])
        for at, block in row_blocks(x, weights.dtype):
            moments[:, p, :, :D] += torch.matmul(mask[:, at], block)
        moments[:, p, :, D] = mask.sum(-1, dtype=torch.float64)
    return moments
