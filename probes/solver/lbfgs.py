"""L-BFGS pairs of all columns, in compact matrix form (Byrd, Nocedal & Schnabel 1994)."""

from __future__ import annotations

import torch
from torch import Tensor

MEMORY = 20
"""Pairs that are used: the last ones."""
ROOM = 10
"""Pairs that memory is allocated for at first; with many columns, most searches need no more."""


class LbfgsPairs:
    """Steps s and changes y of the gradient along them, for H x T columns of C' x n parameters.

    The compact form of the L-BFGS inverse Hessian (Byrd, Nocedal & Schnabel 1994, theorem 2.2): the
    two loops over the pairs become two triangular systems in R, where R_ij = s_i . y_j for i <= j.
    Per iteration that is a dozen calls instead of a dozen a pair.
    """

    def __init__(self, like: Tensor) -> None:
        """like: (H, T, C', n)."""
        H, T, C, n = like.shape
        self.shape = like.shape
        self.steps = like.new_empty(H * T, ROOM, C * n)
        self.changes = torch.empty_like(self.steps)
        self.products = like.new_empty(H * T, ROOM, ROOM)
        """R in its upper triangle; the numbers below it are undefined."""
        self.count = 0

    def clear(self) -> None:
        """Forget all pairs."""
        self.count = 0

    def follow(self, other: LbfgsPairs, stiffness: Tensor) -> None:
        """Start with the pairs of another search, whose objective had ``stiffness / 2 * v^2`` less.

        For the same columns under another penalty, which adds ``stiffness * step`` to the changes.
        stiffness: broadcasts to (H, T, C', n).
        """
        _, S, Y = other._present()
        changes = torch.addcmul(Y, stiffness.expand(self.shape).reshape(len(S), 1, -1), S)
        useful = ((S * changes).sum(-1, keepdim=True) > 0).to(S.dtype)
        self.steps, self.changes = S * useful, changes * useful
        self.products = torch.bmm(self.steps, self.changes.mT)
        self.products.diagonal(dim1=1, dim2=2).add_(1 - useful[..., 0])
        self.count = S.shape[1]

    def keep(self, flat: Tensor, shape: torch.Size) -> None:
        """Continue with columns ``flat`` of the H * T, now of shape ``shape``, (H', T', C', n)."""
        self.shape = shape
        self.steps, self.changes = self.steps[flat], self.changes[flat]
        self.products = self.products[flat]

    def add(self, step: Tensor, change: Tensor) -> None:
        """The newest pair (H, T, C', n); columns without positive curvature get an empty one."""
        if self.count == self.steps.shape[1]:
            self._make_room()
        at, size = self.count, len(self.steps)
        s, y = step.reshape(size, -1), change.reshape(size, -1)
        curvature = (s * y).sum(-1)
        useful = (curvature > 0) & (1 / curvature).isfinite()
        if not bool(useful.all()):
            s, y = (torch.where(useful[:, None], t, torch.zeros_like(t)) for t in (s, y))
            curvature = torch.where(useful, curvature, torch.ones_like(curvature))
        self.steps[:, at], self.changes[:, at] = s, y
        self.count += 1
        present = self._window()
        new = torch.bmm(self.steps[:, present], self.changes[:, at, :, None])
        self.products[:, present, at] = new[..., 0]
        self.products[:, at, at] = curvature

    def last(self) -> tuple[Tensor, Tensor]:
        """The newest change (H, T, C', n), and its product with the step (H, T), 1 if empty."""
        at = self.count - 1
        product = self.products[:, at, at].reshape(self.shape[:2])
        return self.changes[:, at].reshape(self.shape), product

    def before(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """What the metric is to be applied to (H, T, C', n), and factors for ``after``."""
        R, S, Y = self._present()
        g = gradient.reshape(len(S), -1, 1)
        factors = torch.linalg.solve_triangular(R, torch.bmm(S, g), upper=True)
        return torch.baddbmm(g, Y.mT, factors, alpha=-1).view(self.shape), factors

    def after(self, metric: Tensor, factors: Tensor) -> Tensor:
        """The inverse Hessian times the gradient (H, T, C', n), from the metric's product with what
        ``before`` returned."""
        R, S, Y = self._present()
        r = metric.reshape(len(S), -1, 1)
        diagonal = R.diagonal(dim1=1, dim2=2)[..., None]
        right = torch.baddbmm(diagonal * factors, Y, r, alpha=-1)
        weights = torch.linalg.solve_triangular(R.mT, right, upper=False)
        return torch.baddbmm(r, S.mT, weights).view(self.shape)

    def _present(self) -> tuple[Tensor, Tensor, Tensor]:
        m = self._window()
        return self.products[:, m, m], self.steps[:, m], self.changes[:, m]

    def _make_room(self) -> None:
        """Move the pairs that still count to larger buffers, or to the front of such ones."""
        old = self._present()
        size, kept, width = old[1].shape
        room = min(max(2 * kept, ROOM), 2 * MEMORY)
        self.products = old[0].new_empty(size, room, room)
        self.steps, self.changes = (t.new_empty(size, room, width) for t in old[1:])
        self.count = kept
        for new, before in zip(self._present(), old, strict=True):
            new.copy_(before)

    def _window(self) -> slice:
        return slice(max(0, self.count - MEMORY), self.count)
