"""The cross-entropy as a function of logits: probabilities, log-partition, label moments."""

from __future__ import annotations

import torch
from torch import Tensor

from probes.solver import tuning
from probes.solver.buffers import Workspace
from probes.solver.linalg import softmax_without_maximum
from probes.solver.remade_rows import RemadeRows
from probes.solver.rows import on_gpu, row_blocks


def class_logits(scores: Tensor) -> Tensor:
    """Logits of all C classes (..., C) from those of C' columns (..., C').

    Probes of two classes have one column, the logit of class 1; that of class 0 is 0.
    """
    if scores.shape[-1] > 1:
        return scores
    return torch.cat([torch.zeros_like(scores), scores], dim=-1)


def probabilities(logits: Tensor, out: Tensor) -> Tensor:
    """Class probabilities of logits (..., C', N); C' = 1 is the sigmoid of class 1.

    Many logits on a CPU are exponentiated without subtracting their maximum first; the library's
    softmax is used where that leaves the range of floating-point numbers.
    """
    if logits.shape[-2] == 1:
        return torch.sigmoid(logits, out=out)
    if not on_gpu(logits) and logits.numel() >= tuning.LIBRARY_SOFTMAX:
        fast = softmax_without_maximum(logits, out)
        if fast is not None:
            return fast
    return torch.softmax(logits, dim=-2, out=out)


def log_partition(logits: Tensor) -> Tensor:
    """Log-partition function, the part of the cross-entropy without the label: (..., N)."""
    if logits.shape[-2] == 1:
        return torch.nn.functional.softplus(logits[..., 0, :])
    return torch.logsumexp(logits, dim=-2)


def label_moments(
    x: Tensor | RemadeRows, labels: Tensor, weights: Tensor, columns: int, space: Workspace
) -> Tensor:
    """Sums of [x, 1] over the rows of each class: (H, P, C', D + 1).

    The labels enter the objective only as ``-<moments, parameters>`` and its gradient only as
    ``-moments``, so passes over the rows need no labels.
    """
    H, D = x.shape[0], x.shape[-1]
    P = len(labels)
    moments = weights.new_zeros(H, P, columns, D + 1)
    if columns == 1:
        mask = labels.to(weights.dtype) * weights  # (P, N)
        for at, block in row_blocks(x, weights.dtype):
            moments[..., 0, :D] += torch.matmul(mask[:, at], block)
        moments[..., 0, D] = mask.sum(-1, dtype=torch.float64)
        return moments
    counts = torch.zeros(P, columns, dtype=torch.float64, device=weights.device)
    for at, block in row_blocks(x, weights.dtype):
        for p in range(P):
            label = labels[p, at]
            mask = space.empty("mask", (columns, len(label)), weights).zero_()
            mask.scatter_(0, label[None], weights[p, at][None])
            moments[:, p, :, :D] += torch.matmul(mask, block)
            counts[p] += mask.sum(-1, dtype=torch.float64)
    moments[..., D] = counts
    return moments
