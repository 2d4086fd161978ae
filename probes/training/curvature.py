"""Approximate inverse Hessians: the metric in which every column looks alike."""

from __future__ import annotations

from copy import copy

import torch
from torch import Tensor

from probes.training.workspace import Workspace

GRAM_ROWS_PER_PARAMETER = 40
HESSIAN_ROWS_PER_PARAMETER = 128


class GramCurvature:
    """``(a_c Gram + l2)^-1`` for all columns of a head at once, by one eigendecomposition.

    ``a_c`` is the mean ``p(1-p)`` of a class, so each class has its own curvature; the classical
    bound on the softmax Hessian is a worse metric than none. In the eigenbasis of the Gram matrix
    every penalty, fold and class is a diagonal.
    """

    values: Tensor
    vectors: Tensor

    def __init__(self, x: Tensor, weights: Tensor, centre: Tensor, space: Workspace) -> None:
        """x (H, N, D); weights (N,) of the rows; centre (H, D) their mean."""
        self.gram = weighted_gram(x, weights, centre, space)  # (H, D, D), mean over rows
        relative = 3e-7 if weights.dtype == torch.float32 else 1e-13
        top = self.gram.diagonal(dim1=1, dim2=2).sum(-1)
        self.floor = (relative * top)[:, None, None, None]

    def decompose(self) -> None:
        """Prepare ``apply``: one eigendecomposition a head, worth it from a few columns on."""
        self.values, self.vectors = torch.linalg.eigh(self.gram)  # (H, D), (H, D, D)
        self.values = torch.maximum(self.values, self.floor[:, 0, 0])

    def apply(self, gradient: Tensor, share: Tensor, l2: Tensor, centre: Tensor) -> Tensor:
        """gradient (H, T, C', D + 1), share (H, T, C') = a_c times rows, l2 (H, T)."""
        H, T, C, n = gradient.shape
        # Centring is a change of variables: the intercept at the mean is decoupled.
        mean = centre[:, :, None]  # (H, T, 1, D)
        last = gradient[..., -1:]  # (H, T, C', 1)
        inner = (gradient[..., :-1] - last * mean).reshape(H, T * C, n - 1)
        turned = torch.bmm(inner, self.vectors).view(H, T, C, n - 1)
        turned /= share[..., None] * self.values[:, None, None] + l2[:, :, None, None]
        back = torch.bmm(turned.view(H, T * C, n - 1), self.vectors.mT).view(H, T, C, n - 1)
        intercept = last / share[..., None] - (back * mean).sum(-1, keepdim=True)
        return torch.cat([back, intercept], dim=-1)

    def inverse(self, share: Tensor, l2: Tensor, centre: Tensor) -> Tensor:
        """The same as one matrix for each column: (H, T, C', n, n)."""
        H, T, C = share.shape
        n = centre.shape[-1] + 1
        system = share[..., None, None] * self.gram[:, None, None]  # (H, T, C', D, D)
        system.diagonal(dim1=-2, dim2=-1).add_(l2[:, :, None, None] + self.floor * share[..., None])
        found = share.new_zeros(H, T, C, n, n)
        inner = inverse_of(system.double()).to(share.dtype)
        last = -torch.matmul(inner, centre[:, :, None, :, None])[..., 0]  # (H, T, C', D)
        found[..., :-1, :-1] = inner
        found[..., -1, :-1] = found[..., :-1, -1] = last
        found[..., -1, -1] = 1 / share - (last * centre[:, :, None]).sum(-1)
        return found

    def keep(self, heads: list[int]) -> GramCurvature:
        """The same for these of its heads."""
        kept = copy(self)
        for name in ("gram", "floor", "values", "vectors"):
            if hasattr(self, name):
                setattr(kept, name, getattr(self, name)[heads])
        return kept


def weighted_gram(x: Tensor, weights: Tensor, centre: Tensor, space: Workspace) -> Tensor:
    """Mean of (x - centre)(x - centre)^T over weighted rows: (H, D, D).

    A stride over the rows is enough once there are many more of them than features: the metric
    then differs from the exact one by a few tens of percent, which costs an iteration.
    """
    H, N, D = x.shape
    step = max(1, N // (GRAM_ROWS_PER_PARAMETER * D))
    gram = weights.new_empty(H, D, D)
    root = weights[::step].sqrt()
    uniform = bool((root == root[0]).all())
    if uniform and x.dtype == weights.dtype:
        torch.bmm(x[:, ::step].mT, x[:, ::step], out=gram).mul_(root[0] ** 2)
    else:
        for h in range(H):
            rows = x[h, ::step].to(weights.dtype)
            rows = torch.mul(rows, root[:, None], out=space.empty("rooted", rows.shape, rows))
            torch.mm(rows.t(), rows, out=gram[h])
    total = weights[::step].sum()
    return gram / total - centre[:, :, None] * centre[:, None, :]


def hessian_stride(rows: int, parameters: int) -> int:
    """Every how manieth row the Hessian of a column is computed from."""
    return max(1, rows // (HESSIAN_ROWS_PER_PARAMETER * parameters))


def hessian_cost(rows: int, width: int, classes: int, columns: int) -> float:
    """What the Hessians of some columns of a head cost, in iterations of the search."""
    n = width + 1
    kept = 1 / hessian_stride(rows, n)
    if classes == 1:  # a pass of few columns does not keep the processor busy
        return n / 2 * kept * min(1.0, columns / 6)
    # Measured on two cores: the inverse, the product of the rows, and the calls.
    return 0.8 * n * n / rows + 0.04 * n * kept + 1.5e6 / (rows * n)


def column_hessian(x: Tensor, curvature: Tensor, penalty: Tensor, space: Workspace) -> Tensor:
    """Inverse of ``[x, 1]^T diag(curvature) [x, 1] + diag(penalty)`` of one column: (n, n).

    Rows whose curvature is negligible are left out: of a nearly separable head few remain, and
    what they leave out is made up for by scaling.
    """
    total = curvature.sum()
    bulk = curvature.square().sum() / total.clamp_min(torch.finfo(x.dtype).tiny)
    kept = (curvature > 0.05 * bulk).nonzero()[:, 0]
    if len(kept) < 0.7 * len(curvature):
        x, curvature = x[kept], curvature[kept]
        curvature = curvature * (total / curvature.sum())
    root = curvature.sqrt()[:, None]
    rows = space.empty("rooted", (x.shape[0], x.shape[1] + 1), x)  # (kept, n)
    torch.mul(x, root, out=rows[:, :-1])
    rows[:, -1:] = root
    hessian = (rows.t() @ rows).double()
    hessian.diagonal().add_(penalty.double())
    floor = 1e-7 if x.dtype == torch.float32 else 1e-13
    hessian.diagonal().add_(floor * hessian.diagonal().max())
    return inverse_of(hessian).to(x.dtype)


def inverse_of(system: Tensor) -> Tensor:
    """Inverse (..., n, n) of positive definite matrices; of their diagonals where they are not.

    A column that nothing curves any more (separable, hardly penalised) has no better metric.
    """
    factor, failed = torch.linalg.cholesky_ex(system)
    if bool((failed > 0).any()):
        diagonal = system.diagonal(dim1=-2, dim2=-1).nan_to_num(nan=0.0)
        floor = (1e-3 * diagonal.amax(-1, keepdim=True)).clamp_min(1e-30)
        instead = torch.diag_embed(torch.maximum(diagonal, floor).sqrt())
        factor = torch.where((failed > 0)[..., None, None], instead, factor)
    if factor.is_cuda:
        return torch.cholesky_inverse(factor)
    # In LAPACK's own way it takes a matrix at a time, in twice the time.
    unit = torch.eye(factor.shape[-1], dtype=factor.dtype).expand_as(factor)
    root = torch.linalg.solve_triangular(factor, unit, upper=False)
    return root.mT @ root
