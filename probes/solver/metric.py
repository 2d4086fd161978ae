"""Preconditioners: approximate inverse Hessians shared by all columns of a head."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from probes.solver.buffers import Workspace
from probes.solver.linalg import inverse_of
from probes.solver.rows import Rows

GRAM_ROWS_PER_PARAMETER = 40
"""Rows for each feature that a Gram matrix is formed from, where there are more."""


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
        """(H, T, C', any) in the basis of the eigenvectors."""
        return t if self.vectors is None else torch.matmul(self.vectors.mT, t)

    def back(self, t: Tensor) -> Tensor:
        """The inverse of ``turn``."""
        return t if self.vectors is None else torch.matmul(self.vectors, t)

    def take(self, heads: Tensor, index: Tensor) -> Coupling:
        """Columns index (H', T') of the present heads (H')."""
        at = heads[:, None], index
        return Coupling(self.values[at], None if self.vectors is None else self.vectors[at])


class GramMetric:
    """``(A x Gram + l2)^-1`` for all columns of a head at once, by two eigendecompositions.

    A is the coupling of the classes of a column, Gram that of the head's rows around their mean. In
    the eigenbases of both, the matrix is diagonal for every penalty, fold and class. The classical
    bound on the softmax Hessian (Boehning 1992) converges more slowly than no metric at all.
    """

    gram: Tensor
    """(H, D, D) covariance of the rows."""
    mean: Tensor
    """(H, D) of the rows."""
    floor: Tensor
    """(H, 1) smallest eigenvalue allowed."""
    values: Tensor
    """(H, D) eigenvalues of ``gram``, at least ``floor``; after ``decompose``."""
    vectors: Tensor
    """(H, D, D) eigenvectors in columns; after ``decompose``."""

    def __init__(self, rows: Rows, weights: Tensor, mean: Tensor, space: Workspace) -> None:
        """weights (N,) of the rows, or (H, N) for each head its own; mean (H, D) under them."""
        self.mean = mean
        self.gram = gram(rows, weights, space) - mean[:, :, None] * mean[:, None, :]
        relative = 3e-7 if weights.dtype == torch.float32 else 1e-13
        top = self.gram.diagonal(dim1=1, dim2=2).sum(-1)
        self.floor = (relative * top)[:, None]

    @classmethod
    def weighed(cls, rows: Rows, weights: Tensor, space: Workspace) -> GramMetric:
        """For each head by its own weights of the rows (H, N), ready to ``apply``.

        A row whose class is certain adds no curvature. With the trace of ``w (diag(p) - p p^T)`` as
        weight, the Gram matrix is the one that suits a Kronecker product with their sum.
        """
        metric = cls(rows, weights, rows.sums(weights) / weights.sum(-1, keepdim=True), space)
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
        """The metric as one matrix for each column of one logit: (H, T, 1, n, n).

        share (H, T, 1): the coupling of the logit, one number. l2: (H, T).
        """
        H, T, C = share.shape
        n = self.mean.shape[-1] + 1
        system = share[..., None, None] * self.gram[:, None, None]  # (H, T, 1, D, D)
        ridge = l2[:, :, None, None] + self.floor[:, None, None] * share[..., None]
        system.diagonal(dim1=-2, dim2=-1).add_(ridge)
        whole = share.new_zeros(H, T, C, n, n)
        inner = inverse_of(system.double()).to(share.dtype)
        mean = self.mean[:, None, None, :, None]  # (H, 1, 1, D, 1)
        last = -torch.matmul(inner, mean)[..., 0]  # (H, T, 1, D)
        whole[..., :-1, :-1] = inner
        whole[..., -1, :-1] = whole[..., :-1, -1] = last
        whole[..., -1, -1] = 1 / share - (last * mean[..., 0]).sum(-1)
        return whole

    def keep(self, heads: list[int]) -> GramMetric:
        """The metric of these of its heads."""
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
    grams = weights.new_empty(H, D, D)
    uniform = weights.dim() == 1 and bool((weights == weights[0]).all())
    x = rows.every(step)  # (heads of rows, n, D)
    if uniform and x.dtype == weights.dtype and len(x) == H:
        return torch.bmm(x.mT, x, out=grams).div_(weights.shape[-1])
    roots = weights.sqrt().expand(H, -1)
    for i, head in enumerate(rows.heads):
        taken = x[head].to(weights.dtype)
        taken = torch.mul(taken, roots[i][:, None], out=space.empty("rooted", taken.shape, taken))
        torch.mm(taken.t(), taken, out=grams[i])
    return grams / weights.sum(-1).view(-1, 1, 1)
