"""Standardise the rows of some heads once for all problems; keep what each problem differs in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from probes.solver import tuning
from probes.solver.buffers import Workspace
from probes.solver.remade_rows import RemadeRows
from probes.solver.rows import blocks_of, on_gpu
from probes.solver.selected_rows import SelectedRows

PILOT_ROWS = 256
"""Rows, about, that the mean and scale shared by all problems are estimated from."""


@dataclass(frozen=True)
class Standardised:
    """Features near mean 0 and variance 1 that all problems share.

    A problem's own standardisation only shifts and stretches them: the shift moves into the
    unpenalised intercept, and the stretch into the penalty (``l2 * std**2`` per feature). So
    every problem can ride in one product with the same ``x`` and still be the fit that
    scikit-learn makes of features standardised on that problem's training rows.
    """

    x: Tensor | RemadeRows
    """(H, N, D) in the dtype of the fit, or float32."""
    padded: Tensor | RemadeRows
    """(H, K, B, D): the same in blocks, with rows of zeros where N does not fill the last."""
    mean: Tensor
    """(H, 1, D) float64: x = (z - mean) / scale."""
    scale: Tensor
    """(H, 1, D) float64."""
    centre: Tensor
    """(H, P, D) mean of x over the problem's weighted rows."""
    std: Tensor
    """(H, P, D) standard deviation of x over them; 1 where the feature is constant."""
    varies: Tensor
    """(H, P, D) bool: False where the feature is constant on the problem's rows."""

    def to_raw(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Probes on x, (H, P, K, C', D) and (H, P, K, C'), as float64 probes on raw z."""
        raw = weight.double() / self.scale[:, :, None, None]  # (H, P, K, C', D)
        shift = (raw * self.mean[:, :, None, None]).sum(-1)  # (H, P, K, C')
        return raw, bias.double() - shift


def standardise(
    z: Tensor | SelectedRows,
    rows: slice | Tensor,
    weights: Tensor,
    dtype: torch.dtype,
    space: Workspace,
) -> Standardised:
    """Centre and scale rows of z (H, M, D) for problems with row weights (P, N) on them.

    z: half precision is converted to float32 some rows at a time. rows: which of the M, as N
    indices, or all. The pilot mean and scale come from a few hundred
    rows: any will do, as the rest is exact algebra, but float32 loses the variance of a head with
    a large mean, so rows are centred before anything is squared. Many rows are stored in float32
    also for a fit in float64. Where classes are separable and the penalty is tiny, the fit then
    misses the optimum of the unrounded rows by more than its gap says (3e-4 in the tests' case).
    """
    H, _, D = z.shape
    N = weights.shape[1]
    step = max(1, tuning.STANDARDISED_NUMBERS // (H * D))
    blocks = [slice(at, min(N, at + step)) for at in range(0, N, step)]

    def taken(part: slice) -> Tensor:
        some: Tensor = z[:, part] if isinstance(rows, slice) else z[:, rows[part]]  # (H, n, D)
        return some if z.dtype == torch.float64 else some.float()

    pilot = taken(slice(None, None, max(1, N // PILOT_ROWS))).double()  # (H, pilot, D)
    mean = pilot.mean(1, keepdim=True)  # (H, 1, D)
    scale = (pilot - mean).square_().mean(1, keepdim=True).sqrt_()
    flat = ~(scale > 1e-6 * mean.abs())
    if bool(flat.any()):
        # Constant on the pilot rows: the first row is subtracted exactly, all rows decide.
        mean = torch.where(flat, taken(slice(0, 1)).double(), mean)
        every = sum(taken(part).double().sub(mean).square().sum(1, keepdim=True) for part in blocks)
        every = torch.as_tensor(every).div(N).sqrt()
        scale = torch.where(flat & (every > 0), every, scale)
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    compact = dtype == torch.float64 and 8 * H * N * D > tuning.FLOAT64_BYTES
    stored = torch.float32 if compact else dtype
    single = z.dtype != torch.float64 and stored == torch.float32
    if single:  # rounded first, so that folding back undoes exactly what is done here
        shift, stretch = mean.float(), (1 / scale).float()
        mean, scale = shift.double(), 1 / stretch.double()
    count, size = blocks_of(N, z)
    x: Tensor | RemadeRows
    padded: Tensor | RemadeRows
    if single and isinstance(z, SelectedRows) and _too_many_to_copy(H, N, D) and not on_gpu(z):
        shape = torch.Size((1, count, size, D))
        x = padded = RemadeRows(z, rows, shift, stretch, shape, N, space)
    else:
        whole = space.empty("x", (H, count * size, D), weights.new_empty(0, dtype=stored))
        whole[:, N:] = 0
        x, padded = whole[:, :N], whole.view(H, count, size, D)
    total = weights.sum(-1)[None, :, None].clamp_min(torch.finfo(dtype).tiny)  # (1, P, 1)
    centre = weights.new_zeros(H, len(weights), D)
    square = torch.zeros_like(centre)
    for part in blocks:
        if isinstance(x, Tensor) and single:
            torch.sub(taken(part), shift, out=x[:, part]).mul_(stretch)
        elif isinstance(x, Tensor):
            x[:, part] = torch.sub(taken(part).double(), mean).div_(scale)
        block, weight = x[:, part].to(dtype), weights[:, part]
        centre += torch.matmul(weight, block)
        squares = torch.mul(block, block, out=space.empty("squares", block.shape, block))
        square += torch.matmul(weight, squares)
    centre /= total  # (H, P, D)
    variance = square / total - centre**2
    # float32 sums leave about 1e-6 of the mean square; smaller is a constant feature.
    noise = 1e-6 if dtype == torch.float32 else 1e-12
    varies = variance > noise * (square / total)
    std = torch.where(varies, variance.clamp_min(0).sqrt(), torch.ones_like(variance))
    return Standardised(x, padded, mean, scale, centre, std, varies)


def _too_many_to_copy(heads: int, rows: int, width: int) -> bool:
    return heads == 1 and 4 * rows * width > tuning.COPIED_BYTES
