"""Each column's own Hessian, estimated from a sample of the rows that curve it, and inverted."""

from __future__ import annotations

import torch
from torch import Tensor

from probes.solver import tuning
from probes.solver.linalg import inverse_of, squares
from probes.solver.remade_rows import RemadeSample

HESSIAN_ROWS_PER_PARAMETER = 128
"""Rows for each parameter that a column's sample is drawn from, where there are more."""
SAMPLED = 4
"""Rows for each parameter in the sample that a column's own Hessian is estimated from."""
SAMPLED_LEAST = 256
"""Rows in it at least."""


def own_hessians(x: Tensor | RemadeSample, curvature: Tensor, out: Tensor) -> None:
    """``[x, 1]^T diag(curvature) [x, 1]`` of R columns of a head, in ``out`` (R, n, n).

    x (N, n - 1), curvature (R, N). Of many rows each column takes a sample of its own, at equal
    steps of the summed traces ``curvature |[x, 1]|^2``: rows that curve it most come most often, or
    more than once, and each drawn one has the same trace. Lengths count as much as curvature:
    activations have heavy tails, and a sample that misses their longest rows is off by a factor
    of ten along them (block norm squares sampling of Xu et al. 2016). No sample for a
    column alone, and in float64, whose columns are those that are hardly penalised: there the rows
    that a sample misses matter. All rows are never copied for a sample.
    """
    (R, N), n = curvature.shape, out.shape[1]
    size = max(SAMPLED * n, SAMPLED_LEAST)
    if out.dtype == torch.float64 or R == 1:
        for weights, hessian in zip(curvature, out, strict=True):
            _own_hessian(x, weights, hessian)
        return
    if 1.5 * size >= N:
        step = max(1, tuning.HESSIAN_NUMBERS // (n * N))
        for start in range(0, R, step):
            columns = slice(start, start + step)
            squares(_times(x[:], curvature[columns].sqrt()), out[columns])
        return
    step = max(1, tuning.HESSIAN_NUMBERS // (n * size))
    steps = torch.arange(size, device=curvature.device) + 0.5
    lengths = _lengths(x).square_().add_(1)  # (N,) squared, of [x, 1]
    for start in range(0, R, step):
        sums = (curvature[start : start + step] * lengths).cumsum_(-1)  # (r, N)
        each = sums[:, -1:] / size
        drawn = torch.searchsorted(sums, each * steps).clamp_max_(N - 1).view(-1)
        shape = len(sums), size, n
        sample, shrunk = out.new_empty(shape), lengths[drawn].rsqrt_().view(*shape[:2], 1)
        torch.mul(x.index_select(0, drawn).view(*shape[:2], n - 1), shrunk, out=sample[..., :-1])
        sample[..., -1:] = shrunk
        hessians = out[start : start + step]
        squares(sample, hessians)
        hessians *= each[..., None]


def _times(x: Tensor, factors: Tensor) -> Tensor:
    """Rows [x, 1] times factors (..., N): (..., N, n)."""
    rows = factors.new_empty(*factors.shape, x.shape[1] + 1)
    torch.mul(x, factors[..., None], out=rows[..., :-1])
    rows[..., -1] = factors
    return rows


def _lengths(x: Tensor | RemadeSample) -> Tensor:
    """Of the rows x (N, D), some of which are made at a time: (N,)."""
    N, D = x.shape
    step = max(1, tuning.HESSIAN_NUMBERS // D)
    parts = (x[start : start + step] for start in range(0, N, step))
    return torch.cat([torch.linalg.vector_norm(part, dim=1) for part in parts])


def _own_hessian(x: Tensor | RemadeSample, curvature: Tensor, out: Tensor) -> None:
    """``own_hessians`` of one column (N,), without rows whose curvature is negligible.

    Few rows of a nearly separable head remain; the result is scaled to the curvature of all.
    """
    least, total = torch.finfo(out.dtype).tiny, curvature.sum()
    bulk = curvature.square().sum() / total.clamp_min(least)
    kept = (curvature > 0.05 * bulk).nonzero()[:, 0]
    few = len(kept) < 0.7 * len(curvature)
    if few:
        curvature = curvature[kept]
        curvature = curvature * (total / curvature.sum().clamp_min(least))
    step = max(1, 2 * tuning.HESSIAN_NUMBERS // len(out))
    for start in range(0, max(1, len(curvature)), step):
        at = slice(start, start + step)
        rows = _times(x[kept[at] if few else at], curvature[at].sqrt())
        if start == 0:
            squares(rows[None], out[None])
        else:
            part = torch.empty_like(out)
            squares(rows[None], part[None])
            out += part


def invert_(hessians: Tensor, penalty: Tensor) -> None:
    """Hessians (R, n, n) become the inverses of themselves plus ``diag(penalty)``, (R, n)."""
    _, n = penalty.shape
    step = max(1, tuning.HESSIAN_NUMBERS // n**2)
    for start in range(0, len(hessians), step):
        system = hessians[start : start + step]
        if n <= tuning.NARROW + 1:
            system = system.double()
        diagonal = system.diagonal(dim1=-2, dim2=-1)
        diagonal.add_(penalty[start : start + step])
        floor = 1e-7 if hessians.dtype == torch.float32 else 1e-13
        diagonal.add_(floor * diagonal.amax(-1, keepdim=True))
        hessians[start : start + step] = inverse_of(system)


def hessian_stride(rows: int, parameters: int) -> int:
    """Stride between the rows that a column's Hessian is sampled from."""
    return max(1, rows // (HESSIAN_ROWS_PER_PARAMETER * parameters))


def hessian_cost(
    rows: int, width: int, classes: int, columns: int, *, sampled: bool = True
) -> float:
    """Time of the Hessians of some columns of a head, in iterations of the search.

    sampled: as in float32; in float64 all rows enter.
    """
    n, each = width + 1, classes * columns
    sample = min(rows, max(SAMPLED * n, SAMPLED_LEAST)) if sampled else rows
    hessians = tuning.nanoseconds_of_hessians(rows, n, each, sample, hessian_stride(rows, n))
    return hessians / tuning.nanoseconds_of_an_iteration(rows, n, each)
