"""Logits of all columns on all rows: updated along search directions, and summed over the rows."""

from __future__ import annotations

import torch
from torch import Tensor

from probes.solver.buffers import Workspace
from probes.solver.columns import Columns
from probes.solver.likelihood import log_partition, probabilities
from probes.solver.rows import Rows

COUPLED = 8
"""Classes are coupled if a head's rows have at least this many numbers for each of the C' * C'
numbers of a coupling."""
COUPLING_ROWS = 2048
"""Rows that the coupling of the classes is estimated from; more if there are many classes."""

PARTITION_NUMBERS = 1 << 20
"""Logits that are exponentiated at a time where their buffers have to be kept."""


class Logits:
    """Logits of all columns, updated along search directions in reused buffers.

    Four buffers of shape (H, K, T, C', B), the rows in K blocks of B as in ``Rows``, so that the
    work on a block stays in one processor's cache: ``current`` logits, the logits ``along`` a
    search direction, weighted probabilities (``share``) and ``scratch``. Moving along a direction
    is element-wise; only a new direction and a new gradient multiply with the rows.
    """

    def __init__(
        self, rows: Rows, weights: Tensor, columns: Columns, space: Workspace, *, constant: bool
    ) -> None:
        """weights (P, N): of the rows, in the fit's dtype. constant: all columns start at the best
        constant probe, whose logits are their intercepts."""
        self.rows, self.space = rows, space
        _, K, B, _ = rows.x.shape
        self.padding = K * B - rows.count
        self.weights = torch.nn.functional.pad(weights, (0, self.padding)).view(-1, K, B)
        self.uniform = bool((weights == 1).all())
        H, T, C, _ = columns.parameters.shape
        names = ("at", "along", "share", "scratch")
        self._pool = [space.empty(name, (H, K, T, C, B), weights).view(-1) for name in names]
        self._view(columns)
        self.constant = constant
        if constant:  # the first pass is known without one
            self.current.copy_(columns.parameters[:, None, :, :, -1:].expand_as(self.current))
        else:
            self._forward(columns.parameters, self.current)
        self.residual()

    def _view(self, columns: Columns) -> None:
        """Views of the buffers, and the row weights, for the columns that are left."""
        H, T, C, _ = columns.parameters.shape
        _, K, B = self.weights.shape
        shape = (H, K, T, C, B)
        size = H * K * T * C * B
        self.current, self.along, self.share, self.scratch = (
            b[:size].view(shape) for b in self._pool
        )
        self.w = None
        if not self.uniform:
            w = self.space.empty("w", (H, K, T, 1, B), self.weights)
            self.w = w.copy_(self.weights[columns.problem].movedim(1, 2)[:, :, :, None])

    def _forward(self, parameters: Tensor, out: Tensor) -> None:
        self.rows.logits(parameters.flatten(1, 2), out.flatten(2, 3))

    def keep(self, heads: list[int], index: Tensor, columns: Columns) -> None:
        """Continue with some columns: ``columns``, taken already at ``heads`` and ``index``."""
        chosen = torch.tensor(heads, device=index.device)[:, None], index
        taken = self.current.movedim(1, 2)[chosen].movedim(1, 2)  # (H', K, T', C', B)
        self._pool[1][: taken.numel()].view(taken.shape).copy_(taken)
        self._pool[0], self._pool[1] = self._pool[1], self._pool[0]
        self.rows.keep(heads)
        self._view(columns)

    def residual(self) -> None:
        """Weighted probabilities at the current logits."""
        probabilities(self.current, out=self.share)
        if self.w is not None:
            self.share.mul_(self.w)
        elif self.padding:
            self.share[:, -1, :, :, -self.padding :] = 0

    def gradient(self, columns: Columns) -> Tensor:
        """Gradient (H, T, C', n) at the current logits, from their weighted probabilities."""
        H, T, C, n = columns.parameters.shape
        if self.constant:
            sums = torch.cat([columns.centre, torch.ones_like(columns.centre[..., :1])], -1)
            share = probabilities(columns.parameters[..., -1:], out=sums.new_empty(H, T, C, 1))
            gradient = share * (columns.rows[..., None] * sums)[:, :, None]
        else:
            gradient = self.rows.gradient(self.share.flatten(2, 3)).view(H, T, C, n)
        self.constant = False
        gradient -= columns.moments
        return gradient.addcmul_(columns.penalty, columns.parameters).mul_(columns.live)

    def value(self, columns: Columns) -> Tensor:
        """Objective (H, T) in float64."""
        step = max(1, PARTITION_NUMBERS // self.current[:, 0].numel())
        blocks = self.current.split(step, dim=1)
        partition = torch.cat([log_partition(block) for block in blocks], 1)  # (H, K, T, B)
        if self.w is not None:
            partition.mul_(self.w[..., 0, :])
        elif self.padding:
            partition[:, -1, :, -self.padding :] = 0
        likelihood = partition.sum((1, 3), dtype=torch.float64)
        v = columns.parameters.double()
        linear = (columns.moments * v).sum((-1, -2))
        return likelihood - linear + 0.5 * (columns.penalty * v * v).sum((-1, -2))

    def coupling(self) -> Tensor:
        """Sum of w (diag(p) - p p^T) over the rows, or a sample of them: (H, T, C', C').

        Only its diagonal, (H, T, C'), for one logit or so many classes that its eigenvectors would
        cost more than passes over the rows.
        """
        H, K, T, C, B = self.share.shape
        if C == 1 or self.rows.count * self.rows.x.shape[-1] < COUPLED * C * C:
            return self.class_curvature().sum((1, 4))
        step = max(1, self.rows.count // max(COUPLING_ROWS, 64 * C))
        share = self.share[..., ::step]
        plain = share if self.w is None else share / self.w[..., ::step].clamp_min(1e-30)
        flat = (H * T, C, K * share.shape[-1])
        left, right = (t.permute(0, 2, 3, 1, 4).reshape(flat) for t in (share, plain))
        both = torch.bmm(left, right.mT).view(H, T, C, C)
        return B / share.shape[-1] * (torch.diag_embed(share.sum((1, 4))) - both)

    def row_curvature(self) -> Tensor:
        """Trace of w (diag(p) - p p^T) of each row, mean over the columns of a head: (H, N)."""
        trace = self.class_curvature().sum(3).mean(2)  # (H, K, B)
        return trace.flatten(1, 2)[:, : self.rows.count]

    def class_curvature(self, step: int = 1) -> Tensor:
        """w p (1 - p) of each class and every ``step``-th row of a block: (H, K, T, C', b).

        Scaled up for the rows left out. In a reused buffer, valid until the columns move.
        """
        share = self.share[..., ::step]
        scratch = self.scratch.view(-1)[: share.numel()].view(share.shape)
        plain = share
        if self.w is not None:
            plain = torch.div(share, self.w[..., ::step].clamp_min(1e-30), out=scratch)
        squares = torch.mul(share, plain, out=scratch)
        curvature = torch.sub(share, squares, out=scratch).clamp_min_(0)
        return curvature if step == 1 else curvature.mul_(self.share.shape[-1] / share.shape[-1])

    def point_along(self, direction: Tensor) -> None:
        """Logits of a direction in parameter space."""
        self._forward(direction, self.along)

    def move(self, step: Tensor) -> None:
        """Go ``step`` (H, T) further along the direction, and update the probabilities."""
        self.current.addcmul_(self.along, step[:, None, :, None, None])
        self.residual()

    def slope(self) -> Tensor:
        """Sum of weighted probabilities times the direction's logits: (H, T)."""
        torch.mul(self.share, self.along, out=self.scratch)
        return self.scratch.sum((1, 3, 4))

    def move_some(self, chosen: Tensor, step: Tensor) -> Tensor:
        """As move and slope, for columns chosen (m,) of the flattened (H * T); step (m,)."""
        H, _, T, _, _ = self.current.shape
        if len(chosen) == H * T:
            self.move(step.view(H, T))
            return self.slope().view(-1)
        at = chosen // T, slice(None), chosen % T
        along = self.along[at]  # (m, K, C', B)
        logits = along.mul(step[:, None, None, None]).add_(self.current[at])
        self.current[at] = logits
        share = probabilities(logits, out=torch.empty_like(logits))
        if self.w is not None:
            share.mul_(self.w[at])
        elif self.padding:
            share[:, -1, :, -self.padding :] = 0
        self.share[at] = share
        return share.mul_(along).sum((1, 2, 3))
