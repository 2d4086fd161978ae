"""Linear algebra on batches of small matrices, where a library takes one matrix at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from probes.solver import tuning


def squares(rows: Tensor, out: Tensor) -> None:
    """rows^T rows of (R, m, n) in ``out`` (R, n, n).

    Wide matrices are formed in quarters: one of the two off the diagonal is the other, transposed.
    """
    n = rows.shape[-1]
    if n <= tuning.NARROW + 1:
        torch.bmm(rows.mT, rows, out=out)
        return
    left, right = rows[..., : n // 2], rows[..., n // 2 :]
    out[:, : n // 2, : n // 2] = torch.bmm(left.mT, left)
    out[:, n // 2 :, n // 2 :] = torch.bmm(right.mT, right)
    out[:, : n // 2, n // 2 :] = corner = torch.bmm(left.mT, right)
    out[:, n // 2 :, : n // 2] = corner.mT


def inverse_of(system: Tensor) -> Tensor:
    """Inverse (..., n, n) of positive definite matrices; of their diagonals where they are not.

    Where a column has no curvature left (separable classes, hardly a penalty), no better metric
    exists.
    """
    flat = system.flatten(0, -3)
    inverse, failed = _inverse_by_halves(flat)
    failed |= ~inverse.isfinite().flatten(1).all(-1)
    if bool(failed.any()):
        if system.dtype == torch.float32:
            inverse[failed] = inverse_of(flat[failed].double()).float()
        else:
            diagonal = flat[failed].diagonal(dim1=-2, dim2=-1).nan_to_num(nan=0.0)
            floor = (1e-3 * diagonal.amax(-1, keepdim=True)).clamp_min(1e-30)
            inverse[failed] = torch.diag_embed(1 / torch.maximum(diagonal, floor))
    return inverse.view(system.shape)


def _inverse_by_halves(system: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse of (R, n, n), and which (R,) are not positive definite.

    With A = [[a, b], [b^T, d]] and the Schur complement s = d - b^T a^-1 b, the blocks of A^-1 are
    products of a^-1, b and s^-1. A library's inverse takes one matrix at a time; these products,
    of all matrices in one batch, take a third of the time from a few hundred columns on.
    """
    n = system.shape[-1]
    if n < 2 * tuning.SMALLEST_HALF:
        factor, failed = torch.linalg.cholesky_ex(system)
        unit = torch.eye(n, dtype=factor.dtype, device=factor.device).expand_as(factor)
        root = torch.linalg.solve_triangular(factor, unit, upper=False)
        return torch.bmm(root.mT, root), failed > 0
    half = n // 2
    top, failed = _inverse_by_halves(system[:, :half, :half])
    across = torch.bmm(top, system[:, :half, half:])
    schur = torch.baddbmm(system[:, half:, half:], system[:, half:, :half], across, alpha=-1)
    bottom, also_failed = _inverse_by_halves(schur)
    inverse = torch.empty_like(system)
    corner = torch.bmm(across, bottom)
    inverse[:, :half, :half] = torch.baddbmm(top, corner, across.mT)
    inverse[:, half:, half:] = bottom
    inverse[:, :half, half:] = corner.neg_()
    inverse[:, half:, :half] = corner.mT
    return inverse, failed | also_failed


def softmax_without_maximum(logits: Tensor, out: Tensor) -> Tensor | None:
    """Softmax of logits (..., C, N) over C in ``out``, or None where exponentials leave the range.

    The largest logit of a row is not subtracted first, which saves a third of the time; beyond
    logits of about 70 in size the result is not to be used, and None is returned.
    """
    torch.exp(logits, out=out)
    total = out.sum(-2, keepdim=True)
    least, most = torch.aminmax(total)
    if not 1e-30 < float(least) <= float(most) < 1e30:  # in any dtype, denormal numbers or not
        return None
    return out.mul_(total.reciprocal_())
