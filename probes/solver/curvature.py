"""Approximate inverse Hessians: the metric in which every column looks alike."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from probes.solver.buffers import Workspace
from probes.solver.rows import Rows

GRAM_ROWS_PER_PARAMETER = 40
HESSIAN_ROWS_PER_PARAMETER = 128
NARROW = 128
"""Up to this width a Gram matrix or a column's own Hessian costs few passes over the rows."""
SAMPLED = 4
"""Rows for each parameter in the sample that a column's own Hessian is estimated from."""
SAMPLED_LEAST = 512
"""Rows in it at least."""
LEAF = 48
"""Columns of the smallest half that an inverse is put together from."""
AT_ONCE = 1 << 21
"""Numbers of Hessians and their rows that are formed at a time."""


@dataclass(frozen=True)
class Coupling:
    """How the classes of a column share its curvature: ``sum w (diag(p) - p p^T)`` over the rows.

    Times the Gram matrix, as a Kronecker product, this is the Hessian of a probe whose
    probabilities do not depend on the row, and near it that of a weak or strongly penalised one.
    """

    values: Tensor
    """(H, T, C') eigenvalues, at least ``floor``."""
    vectors: Tensor | None
    """(H, T, C', C') in columns; None where only the diagonal is used."""

    @classmethod
    def of(cls, matrix: Tensor, floor: Tensor) -> Coupling:
        """From (H, T, C', C'), or its diagonal (H, T, C'), and the smallest eigenvalue allowed,
        (H, T)."""
        if matrix.dim() == 3:
            return cls(torch.maximum(matrix, floor[..., None]), None)
        values, vectors = torch.linalg.eigh(matrix)
        return cls(torch.maximum(values, floor[..., None]), vectors)

    def turn(self, t: Tensor) -> Tensor:
        """(H, T, C', any) in terms of the eigenvectors."""
        return t if self.vectors is None else torch.matmul(self.vectors.mT, t)

    def back(self, t: Tensor) -> Tensor:
        return t if self.vectors is None else torch.matmul(self.vectors, t)

    def take(self, heads: Tensor, index: Tensor) -> Coupling:
        at = heads[:, None], index
        return Coupling(self.values[at], None if self.vectors is None else self.vectors[at])


class GramCurvature:
    """``(A x Gram + l2)^-1`` for all columns of a head at once, by two eigendecompositions.

    A couples the classes of a column, the Gram matrix is that of the head's rows around their
    mean. In the eigenbases of both every penalty, fold and class is a diagonal; the classical bound
    on the softmax Hessian is a worse metric than none.
    """

    gram: Tensor
    """(H, D, D), mean over the rows."""
    mean: Tensor
    """(H, D)."""
    values: Tensor
    vectors: Tensor

    def __init__(self, rows: Rows, weights: Tensor, mean: Tensor, space: Workspace) -> None:
        """weights (N,) of the rows, or (H, N) for each head its own; mean (H, D) under them."""
        self.mean = mean
        self.gram = gram(rows, weights, space) - mean[:, :, None] * mean[:, None, :]
        relative = 3e-7 if weights.dtype == torch.float32 else 1e-13
        top = self.gram.diagonal(dim1=1, dim2=2).sum(-1)
        self.floor = (relative * top)[:, None]

    @classmethod
    def weighed(cls, rows: Rows, weights: Tensor, space: Workspace) -> GramCurvature:
        """For each head by its own weights of the rows (H, N), ready to ``apply``.

        A row whose class is certain curves nothing. With the trace of ``w (diag(p) - p p^T)`` as
        weight, the Gram matrix is the one that suits a Kronecker product with their sum.
        """
        pairs = zip(rows.heads, weights, strict=True)
        sums = [weight @ rows.flat(head).to(weight.dtype) for head, weight in pairs]
        metric = cls(rows, weights, torch.stack(sums) / weights.sum(-1, keepdim=True), space)
        metric.decompose()
        return metric

    def decompose(self) -> None:
        """Prepare ``apply``: one eigendecomposition a head, worth it from a few columns on."""
        self.values, self.vectors = torch.linalg.eigh(self.gram)  # (H, D), (H, D, D)
        self.values = torch.maximum(self.values, self.floor)

    def apply(self, vectors: Tensor, coupling: Coupling, l2: Tensor) -> Tensor:
        """vectors (H, T, C', m, D + 1), coupling of the classes of each column, l2 (H, T)."""
        H, T, C, m, n = vectors.shape
        # Centring is a change of variables: the intercept at the mean is decoupled.
        mean = self.mean[:, None, None, None]  # (H, 1, 1, 1, D)
        turned = coupling.turn(vectors.flatten(3)).view(H, T, C, m, n)
        last = turned[..., -1:]  # (H, T, C', m, 1)
        inner = (turned[..., :-1] - last * mean).view(H, T * C * m, n - 1)
        inner = torch.bmm(inner, self.vectors).view(H, T, C, m, n - 1)
        share = coupling.values[..., None, None]
        inner /= share * self.values[:, None, None, None] + l2[:, :, None, None, None]
        back = torch.bmm(inner.view(H, T * C * m, n - 1), self.vectors.mT)
        back = back.view(H, T, C, m, n - 1)
        intercept = last / share - (back * mean).sum(-1, keepdim=True)
        together = torch.cat([back, intercept], dim=-1).flatten(3)
        return coupling.back(together).view(H, T, C, m, n)

    def inverse(self, share: Tensor, l2: Tensor) -> Tensor:
        """The same for one logit as one matrix for each column: (H, T, 1, n, n).

        share (H, T, 1): the eigenvalue of its coupling."""
        H, T, C = share.shape
        n = self.mean.shape[-1] + 1
        system = share[..., None, None] * self.gram[:, None, None]  # (H, T, 1, D, D)
        ridge = l2[:, :, None, None] + self.floor[:, None, None] * share[..., None]
        system.diagonal(dim1=-2, dim2=-1).add_(ridge)
        found = share.new_zeros(H, T, C, n, n)
        inner = inverse_of(system.double()).to(share.dtype)
        mean = self.mean[:, None, None, :, None]  # (H, 1, 1, D, 1)
        last = -torch.matmul(inner, mean)[..., 0]  # (H, T, 1, D)
        found[..., :-1, :-1] = inner
        found[..., -1, :-1] = found[..., :-1, -1] = last
        found[..., -1, -1] = 1 / share - (last * mean[..., 0]).sum(-1)
        return found

    def keep(self, heads: list[int]) -> GramCurvature:
        """The same for these of its heads."""
        kept = copy(self)
        for name in ("gram", "mean", "floor", "values", "vectors"):
            if hasattr(self, name):
                setattr(kept, name, getattr(self, name)[heads])
        return kept


def gram(rows: Rows, weights: Tensor, space: Workspace) -> Tensor:
    """Mean of x x^T over rows weighted by (N,), or by (H, N) for each head: (H, D, D).

    A stride over the rows is enough once there are many more of them than features: the metric
    then differs from the exact one by a few tens of percent, which costs an iteration.
    """
    H, N, D = len(rows.heads), rows.count, rows.x.shape[-1]
    step = max(1, N // (GRAM_ROWS_PER_PARAMETER * D))
    weights = weights[..., ::step]
    found = weights.new_empty(H, D, D)
    uniform = weights.dim() == 1 and bool((weights == weights[0]).all())
    if uniform and rows.x.dtype == weights.dtype and len(rows.x) == H:
        x = rows.x.flatten(1, 2)[:, :N:step]  # (H, n, D)
        return torch.bmm(x.mT, x, out=found).div_(weights.shape[-1])
    roots = weights.sqrt().expand(H, -1)
    for i, head in enumerate(rows.heads):
        some = rows.flat(head)[::step].to(weights.dtype)
        some = torch.mul(some, roots[i][:, None], out=space.empty("rooted", some.shape, some))
        torch.mm(some.t(), some, out=found[i])
    return found / weights.sum(-1).view(-1, 1, 1)


def own_hessians(x: Tensor, curvature: Tensor, out: Tensor) -> None:
    """``x^T diag(curvature) x`` of R columns of a head, in ``out`` (R, n, n).

    x (N, n) with the intercept's ones, curvature (R, N). Of many rows each column takes a sample of
    its own, at equal steps of its summed curvature: rows that curve it most come most often, or
    more than once, and each counts the same. Of a column that is certain of most rows few matter.
    No sample for a column alone, and in float64, whose columns are those that are hardly penalised:
    there the rows that a sample misses matter.
    """
    (R, N), n = curvature.shape, x.shape[1]
    size = max(SAMPLED * n, SAMPLED_LEAST)
    if x.dtype == torch.float64 or R == 1:
        for weights, found in zip(curvature, out, strict=True):
            _own_hessian(x, weights, found)
        return
    if 1.5 * size >= N:
        step = max(1, AT_ONCE // (n * N))
        for start in range(0, R, step):
            some = slice(start, start + step)
            squares(x * curvature[some].sqrt()[..., None], out[some])
        return
    step = max(1, AT_ONCE // (n * size))
    steps = torch.arange(size, device=x.device) + 0.5
    for start in range(0, R, step):
        sums = curvature[start : start + step].cumsum(-1)  # (r, N)
        each = sums[:, -1:] / size
        picked = torch.searchsorted(sums, each * steps).clamp_max_(N - 1)
        taken = x.index_select(0, picked.view(-1)).view(len(sums), size, n)
        found = out[start : start + step]
        squares(taken, found)
        found *= each[..., None]


def _own_hessian(x: Tensor, curvature: Tensor, out: Tensor) -> None:
    """``own_hessians`` of one column (N,), without rows whose curvature is negligible.

    Of a nearly separable head few remain; what they leave out is made up for by scaling.
    """
    total = curvature.sum()
    bulk = curvature.square().sum() / total.clamp_min(torch.finfo(x.dtype).tiny)
    kept = (curvature > 0.05 * bulk).nonzero()[:, 0]
    if len(kept) < 0.7 * len(curvature):
        x, curvature = x[kept], curvature[kept]
        curvature = curvature * (total / curvature.sum().clamp_min(torch.finfo(x.dtype).tiny))
    squares((x * curvature.sqrt()[:, None])[None], out[None])


def invert_(hessians: Tensor, penalty: Tensor) -> None:
    """Hessians (R, n, n) become the inverses of themselves plus ``diag(penalty)``, (R, n)."""
    _, n = penalty.shape
    step = max(1, AT_ONCE // n**2)
    for start in range(0, len(hessians), step):
        system = hessians[start : start + step]
        if n <= NARROW + 1:
            system = system.double()
        diagonal = system.diagonal(dim1=-2, dim2=-1)
        diagonal.add_(penalty[start : start + step])
        floor = 1e-7 if hessians.dtype == torch.float32 else 1e-13
        diagonal.add_(floor * diagonal.amax(-1, keepdim=True))
        hessians[start : start + step] = inverse_of(system)


def squares(rows: Tensor, out: Tensor) -> None:
    """rows^T rows of (R, m, n) in ``out``; of wide ones a corner is the mirror of another."""
    n = rows.shape[-1]
    if n <= NARROW + 1:
        torch.bmm(rows.mT, rows, out=out)
        return
    left, right = rows[..., : n // 2], rows[..., n // 2 :]
    out[:, : n // 2, : n // 2] = torch.bmm(left.mT, left)
    out[:, n // 2 :, n // 2 :] = torch.bmm(right.mT, right)
    out[:, : n // 2, n // 2 :] = corner = torch.bmm(left.mT, right)
    out[:, n // 2 :, : n // 2] = corner.mT


def inverse_of(system: Tensor) -> Tensor:
    """Inverse (..., n, n) of positive definite matrices; of their diagonals where they are not.

    A column that nothing curves any more (separable, hardly penalised) has no better metric.
    """
    flat = system.flatten(0, -3)
    found, failed = _inverse_by_halves(flat)
    failed |= ~found.isfinite().flatten(1).all(-1)
    if bool(failed.any()):
        if system.dtype == torch.float32:
            found[failed] = inverse_of(flat[failed].double()).float()
        else:
            diagonal = flat[failed].diagonal(dim1=-2, dim2=-1).nan_to_num(nan=0.0)
            floor = (1e-3 * diagonal.amax(-1, keepdim=True)).clamp_min(1e-30)
            found[failed] = torch.diag_embed(1 / torch.maximum(diagonal, floor))
    return found.view(system.shape)


def _inverse_by_halves(system: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse of (R, n, n), and which (R,) are not positive definite.

    A library's inverse of a few hundred columns takes a matrix at a time; products of halves, of
    all matrices in one batch, take a third of the time.
    """
    n = system.shape[-1]
    if n < 2 * LEAF:
        factor, failed = torch.linalg.cholesky_ex(system)
        unit = torch.eye(n, dtype=factor.dtype, device=factor.device).expand_as(factor)
        root = torch.linalg.solve_triangular(factor, unit, upper=False)
        return torch.bmm(root.mT, root), failed > 0
    half = n // 2
    one, failed = _inverse_by_halves(system[:, :half, :half])
    across = torch.bmm(one, system[:, :half, half:])
    rest = torch.baddbmm(system[:, half:, half:], system[:, half:, :half], across, alpha=-1)
    other, also = _inverse_by_halves(rest)
    found = torch.empty_like(system)
    corner = torch.bmm(across, other)
    found[:, :half, :half] = torch.baddbmm(one, corner, across.mT)
    found[:, half:, half:] = other
    found[:, :half, half:] = corner.neg_()
    found[:, half:, :half] = corner.mT
    return found, failed | also


def hessian_stride(rows: int, parameters: int) -> int:
    """Every how manieth row the sample of a column's Hessian is drawn from."""
    return max(1, rows // (HESSIAN_ROWS_PER_PARAMETER * parameters))


def hessian_cost(rows: int, width: int, classes: int, columns: int) -> float:
    """What the Hessians of some columns of a head cost, in iterations of the search."""
    n, each = width + 1, classes * columns
    sample = min(rows, max(SAMPLED * n, SAMPLED_LEAST))
    # Nanoseconds on two cores: rows are copied, picked, gathered and multiplied, sums inverted.
    hessians = 2e5 + 0.7 * n * rows / hessian_stride(rows, n)
    hessians += each * (sample * (60 + n / 2 + n * n / 60) + n**3 / 30)
    # Softmax and products of each column, but at least what it takes to read the rows twice.
    iteration = 1e5 + rows * max(each * (4 + n / 24), 0.8 * n)
    return hessians / iteration
