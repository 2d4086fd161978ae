"""Approximate inverse Hessians: the metric in which every column looks alike."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from probes.training.products import Rows
from probes.training.workspace import Workspace

GRAM_ROWS_PER_PARAMETER = 40
HESSIAN_ROWS_PER_PARAMETER = 128
NARROW = 128
"""Up to this width a Gram matrix or a column's own Hessian costs few passes over the rows."""
PAIRS_PAY = 0.4
"""Columns for each parameter from which on the products of all pairs of features pay."""
STRIP = 6
"""Features whose products with all others are formed in one call."""
PAIRS_AT_ONCE = 1 << 20
"""Products of pairs, or numbers of Hessians, that are formed at a time."""


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


def hessian_stride(rows: int, parameters: int) -> int:
    """Every how manieth row the Hessian of a column is computed from."""
    return max(1, rows // (HESSIAN_ROWS_PER_PARAMETER * parameters))


def hessian_cost(rows: int, width: int, classes: int, columns: int) -> float:
    """What the Hessians of some columns of a head cost, in iterations of the search."""
    n = width + 1
    kept = 1 / hessian_stride(rows, n)
    if pairs_pay(n, classes * columns):
        return 0.25 * n * kept
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


def pairs_pay(parameters: int, columns: int) -> bool:
    """Whether ``pair_hessians`` is faster than ``column_hessian`` of each column of a head."""
    return columns >= PAIRS_PAY * parameters


def pair_hessians(x: Tensor, curvature: Tensor, penalty: Tensor, space: Workspace) -> Tensor:
    """``column_hessian`` of all columns of a head in one product: (T, C', n, n).

    x (rows, D), curvature (T * C', rows), penalty (T, C', n). The products of two features of a
    row are shared by all columns, each of which weighs the rows anew; as they are symmetric, half
    of them are enough.
    """
    rows, D = x.shape
    n = D + 1
    strips = [(a, min(a + STRIP, n)) for a in range(0, n, STRIP)]
    # Each feature of a strip with all from the strip's first one on: a few pairs come twice.
    places = [torch.cartesian_prod(torch.arange(a, b), torch.arange(a, n)) for a, b in strips]
    one, other = torch.cat(places).to(x.device).unbind(1)
    found = x.new_zeros(len(curvature), len(one))
    step = max(1, PAIRS_AT_ONCE // len(one))
    for start in range(0, rows, step):
        part = x[start : start + step]
        wide = torch.cat([part, torch.ones_like(part[:, :1])], -1).t().contiguous()  # (n, rows)
        pairs = space.empty("pairs", (len(one), len(part)), x)
        at = 0
        for a, b in strips:
            strip = pairs[at : at + (b - a) * (n - a)].view(b - a, n - a, len(part))
            torch.mul(wide[a:b, None], wide[None, a:], out=strip)
            at += (b - a) * (n - a)
        found.addmm_(curvature[:, start : start + step], pairs.t())
    inverse = x.new_empty(*penalty.shape, n)
    flat, ridge = inverse.view(-1, n, n), penalty.reshape(-1, n)
    floor = 1e-7 if x.dtype == torch.float32 else 1e-13
    size = max(1, PAIRS_AT_ONCE // n**2)
    for start in range(0, len(flat), size):
        some = slice(start, start + size)
        hessian = x.new_empty(len(flat[some]), n, n, dtype=torch.float64)
        hessian[:, one, other] = hessian[:, other, one] = found[some].double()
        diagonal = hessian.diagonal(dim1=-2, dim2=-1)
        diagonal.add_(ridge[some].double())
        diagonal.add_(floor * diagonal.amax(-1, keepdim=True))
        flat[some] = inverse_of(hessian).to(x.dtype)
    return inverse


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
