"""Batched L-BFGS, preconditioned by the curvature of each head; each column is judged alone."""

from __future__ import annotations

import torch
from torch import Tensor

from probes.solver import tuning
from probes.solver.columns import Columns, dot
from probes.solver.gap_estimate import GapEstimate
from probes.solver.hessian_sample import hessian_stride, invert_, own_hessians
from probes.solver.lbfgs import LbfgsPairs
from probes.solver.line_search import search_line
from probes.solver.logits import Logits
from probes.solver.metric import Coupling, GramMetric
from probes.solver.state import Optima, State

LEAVING = 0.06
"""Share of the columns that must have ended before they are taken out of the products."""
SETTLED = 0.03
"""Decrement, relative to the objective, from which the objective is no longer computed: what is
still to be gained is hardly any of it."""
STALLED = 6
"""Iterations without progress after which a column gets a fresh Hessian."""
RENEWED = (1, 2, 4, 8, 16)
"""Iterations before which the coupling of the classes is taken anew."""
WEIGHED = 4
"""That of them before which the rows are weighed anew, where the search started cold."""
ALL_CORRECT = 0.6
"""An objective below this times the smallest weight of a row means that no row costs log 2 = 0.69,
so all are classified correctly."""


class QuasiNewton:
    """Minimise all columns of some heads by preconditioned L-BFGS.

    A column is a problem (labels y, row weights w) under a penalty. With rows x_i extended by a 1
    for the intercept, its parameters v = (v_1 ... v_C') minimise the convex

        f(v) = sum_i w_i [log sum_c exp(v_c . x_i) - v_(y_i) . x_i] + 1/2 sum_c v_c . L v_c,

    L = l2 diag(std^2, 0), which is l2 on features of unit variance and nothing on the intercept.
    For two classes v is one vector, and the logit of class 0 is 0. An iteration has four steps:

    1. Update the metric M, an approximate inverse Hessian. At first it is shared by the columns of
       a head: M = (A x G + L)^-1 with the head's Gram matrix G and the coupling of the column's
       classes A = sum_i w_i (diag(p_i) - p_i p_i^T), a Kronecker product that is inverted by the
       eigendecompositions of both factors. A column whose decrement falls too slowly gets the
       inverse of its own Hessian, of each class apart, estimated from a sample of its rows.
    2. Find the direction d = -H g from the gradient g. H is the L-BFGS inverse Hessian of the last
       20 pairs (s, y) of steps and gradient changes, in compact form (Byrd, Nocedal & Schnabel
       1994, theorem 2.2) around c M, c = s.y / y.My of the last pair.
    3. Search along it for the zero of f' in t -> v + t d. The logits move linearly in t, so
       this takes no pass over the rows; a nearly exact search saves iterations, which do.
    4. Test for convergence. The Newton decrement 1/2 g.Hg estimates f(v) - min f; M that is too
       stiff understates it, which is corrected by what was gained since earlier estimates
       (``GapEstimate``). A column ends when this is at most the tolerance times the estimated
       minimum, when it stalls, or when it has no minimum.

    So an iteration is two products with the rows: logits of d, and the gradient at the new point.
    Columns that have ended leave the products together. L-BFGS: Liu & Nocedal 1989; the stopping
    rule: Boyd & Vandenberghe 2004, section 9.5.1.
    """

    def __init__(
        self,
        columns: Columns,
        logits: Logits,
        metric: GramMetric,
        *,
        refresh_after: int,
        dense: bool,
        before: QuasiNewton | None = None,
    ) -> None:
        """columns: to be minimised; their parameters are overwritten. logits: at these parameters.

        metric: shared by the columns of each head. refresh_after: iterations that cost as much as
        the columns' own Hessians, before which none is formed. dense: apply the metric as one
        matrix for each column, not by eigenvectors. before: a finished search of the same columns
        under other penalties; its pairs are used, corrected for the difference in penalty.
        """
        self.logits, self.metric = logits, metric
        self.refresh_after, self.dense = refresh_after, dense
        self.inverse: Tensor | None = None
        """(H, T, C', n, n) that replaces ``metric``: each column's own inverse Hessian."""
        self.pairs = LbfgsPairs(columns.parameters)
        # Not if some of its columns had ended before the others, or this block has other problems.
        if before is not None and torch.equal(before.columns.problem, columns.problem):
            self.pairs.follow(before.pairs, columns.penalty - before.columns.penalty)
        self.gap = GapEstimate(columns.null)
        self.optima = Optima.unknown(columns)
        self.refreshed, self.pause = 0, refresh_after
        """Iteration before which Hessians were last formed, and after how many to ask again."""
        self.state = self._start(columns)

    @property
    def columns(self) -> Columns:
        """Those that are still searched."""
        return self.state.columns

    def run(self, tolerance: float, max_iterations: int) -> Optima:
        """Minimise all columns to a relative decrement of ``tolerance``."""
        for iteration in range(max_iterations + 1):
            self._find_direction()
            over = self._test_convergence(iteration, tolerance)
            if bool(over.all()) or iteration == max_iterations:
                self._finish(iteration, tolerance)
                break
            if int(over.sum()) >= LEAVING * over.numel():
                self._drop(over, iteration)
            self._search_line()
            self._update_metric(iteration + 1, tolerance)
        return self.optima

    def _start(self, columns: Columns) -> State:
        self.weigh_at = self._weigh_at(columns)
        gradient = self.logits.gradient(columns)
        if self.weigh_at == 0:
            self.metric = self._weighed_metric()
        coupling = self._coupling(columns)
        if self.dense:
            self.inverse = self.metric.inverse(coupling.values, columns.l2)
        return State.start(columns, gradient, coupling)

    def _weigh_at(self, columns: Columns) -> int | None:
        """The iteration at which the rows are weighed by their curvature, if at all."""
        _, _, C, n = columns.parameters.shape
        if C == 1:
            return None  # its own Hessian comes soon
        if self.logits.constant:
            return WEIGHED if n - 1 <= tuning.NARROW else None
        return 0

    # 1. Update the metric.

    def _update_metric(self, iteration: int, tolerance: float) -> None:
        """Before ``iteration``: own Hessians where they pay, else a renewed coupling."""
        s, since = self.state, iteration - self.refreshed
        stuck = since >= self.refresh_after and int(s.stalled.max()) >= STALLED
        if stuck or (since >= self.pause and self._hessian_pays(since, tolerance)):
            self.inverse = self._own_inverses()
            self.refreshed, self.pause = iteration, 2 * self.pause
        elif self.inverse is None and iteration in RENEWED:
            if iteration == self.weigh_at:
                self.metric = self._weighed_metric()
            s.coupling = self._coupling(s.columns)

    def _hessian_pays(self, since: int, tolerance: float) -> bool:
        """Whether some column, at the rate at which its decrement has fallen in the last ``since``
        iterations, needs more iterations to converge than its Hessian costs."""
        s = self.state
        fallen = (s.started / s.plain).log().clamp_min(0)
        left = (s.decrement / (tolerance * s.value)).log()
        return bool((left * since > self.refresh_after * fallen).any())

    def _coupling(self, columns: Columns) -> Coupling:
        return Coupling.of(self.logits.coupling(), columns.rows * 1e-7 + 1e-12)

    def _weighed_metric(self) -> GramMetric:
        """The shared metric at the probabilities that the columns have now."""
        logits = self.logits
        return GramMetric.weighed(logits.rows, logits.row_curvature(), logits.space)

    def _own_inverses(self) -> Tensor:
        """Inverse of each column's own Hessian at its present point: (H, T, C', n, n)."""
        logits, c = self.logits, self.columns
        H, T, C, n = c.parameters.shape
        step = hessian_stride(logits.rows.count, n)
        hessians = c.parameters.new_empty(H, T, C, n, n)
        curvature = logits.class_curvature(step)  # (H, K, T, C', b)
        for i, head in enumerate(logits.rows.heads):
            x = logits.rows.every_of_blocks(head, step)  # (K * b, D), all rows as they are
            weights = curvature[i].permute(1, 2, 0, 3).reshape(T * C, x.shape[0])
            own_hessians(x, weights, hessians[i].flatten(0, 1))
        invert_(hessians.flatten(0, 2), c.penalty.expand(H, T, C, n).reshape(-1, n))
        return hessians

    # 2. Find the direction.

    def _find_direction(self) -> None:
        """The direction, the slope along it and the decrement."""
        s = self.state
        s.direction, hidden = self._direction()
        s.slope = dot(s.gradient, s.direction)
        # Not downhill: rounding has spoilt the pairs, the metric alone is safe.
        if self.pairs.count and bool((s.slope > 0).any()):
            self.pairs.clear()
            s.direction, hidden = self._direction()
            s.slope = dot(s.gradient, s.direction)
        s.plain = (0.5 * (hidden - s.slope)).double().clamp_min(0)

    def _direction(self) -> tuple[Tensor, Tensor]:
        """Minus the inverse Hessian times the gradient, and what its scaling hides (H, T).

        Scaling the metric to the stiffest recent direction suits the step but understates the
        decrement: what is left to gain is in the softer ones. So the part of the decrement that
        the scaled metric hides is returned too.
        """
        s = self.state
        if self.pairs.count == 0:
            (newton,) = self._apply_metric([s.gradient])
            return newton.mul(s.columns.live).neg_(), torch.zeros_like(s.coupling.values[..., 0])
        right, factors = self.pairs.before(s.gradient)
        # The metric is scaled to the curvature last met, so that a step of 1 mostly fits.
        change, product = self.pairs.last()
        newton, changed = self._apply_metric([right, change])
        expected = dot(change, changed)
        scale = torch.where(expected > 0, product / expected, torch.ones_like(expected))
        hidden = (1 - scale).clamp_min(0) * dot(right, newton)
        direction = self.pairs.after(newton * scale[:, :, None, None], factors)
        return direction.mul_(s.columns.live).neg_(), hidden

    def _apply_metric(self, vectors: list[Tensor]) -> tuple[Tensor, ...]:
        """The metric times each of some vectors (H, T, C', n), all in one product."""
        s = self.state
        stacked = torch.stack(vectors, dim=3)  # (H, T, C', m, n)
        if self.inverse is None:
            products = self.metric.apply(stacked, s.coupling, s.columns.l2)
        else:
            products = torch.matmul(stacked, self.inverse)  # symmetric
        if stacked.shape[2] > 1:
            # Adding one vector to all classes of a softmax changes the penalty alone, though each
            # class by itself seems to be curved that way; gradients have no such part, nor should
            # steps.
            present = s.columns.live[..., -1:, None]  # (H, T, C', 1, 1)
            common = (products * present).sum(2, keepdim=True)
            products -= common / present.sum(2, keepdim=True).clamp_min(1)
        return products.unbind(3)

    # 3. Search along it.

    def _search_line(self) -> None:
        """Move all columns to where the slope along the direction nearly vanishes."""
        s = self.state
        step, end = search_line(self.logits, s.columns, s.direction, s.slope)
        self.gap.fall(-0.5 * (s.slope + end).double() * step)  # of a quadratic, exactly
        moved = s.direction * step[:, :, None, None]
        s.columns.parameters.add_(moved)
        gradient = self.logits.gradient(s.columns)
        self.pairs.add(moved, gradient - s.gradient)
        s.gradient = gradient

    # 4. Test for convergence.

    def _test_convergence(self, iteration: int, tolerance: float) -> Tensor:
        """Columns (H, T) that need no further iteration: converged, stalled or without optimum."""
        s = self.state
        s.decrement = self.gap.judged(s.plain)
        unpenalised = s.columns.l2 == 0
        s.value = torch.where(s.settled, s.optimum + s.decrement, s.value)
        # Against an earlier value, which is an upper bound.
        if bool((unpenalised | (s.decrement <= tolerance * s.value) & ~s.settled).any()):
            s.value = self.logits.value(s.columns)
            s.optimum, s.settled = s.value - s.decrement, s.decrement <= SETTLED * s.value
        s.done = s.decrement <= tolerance * (s.value - s.decrement)
        better = s.decrement < 0.9 * s.best
        s.stalled = torch.where(better, torch.zeros_like(s.stalled), s.stalled + 1)
        s.best = torch.minimum(s.best, s.decrement)
        self._forgive_falling(tolerance)
        if iteration == self.refreshed:
            s.started = s.plain
        # Unpenalised and all rows classified correctly: the weights would grow for ever.
        unbounded = unpenalised & (s.value < ALL_CORRECT * s.columns.least)
        # A stalled column waits for its own Hessian first.
        stalled = s.stalled >= self.refresh_after + 2 * STALLED
        return s.done | unbounded | stalled | ~s.slope.isfinite()

    def _forgive_falling(self, tolerance: float) -> None:
        """Columns that seem to have stalled go on if their objective has fallen by more than the
        tolerance meanwhile.

        Decrements in a poor metric say little. They may be far too small at first, and rise as the
        metric improves, though the search comes on.
        """
        s = self.state
        asked = (s.stalled > 0) & (s.stalled % STALLED == 0)
        if not bool(asked.any()):
            return
        value = self.logits.value(s.columns)
        falling = asked & (s.reached - value > tolerance * value)
        s.stalled = torch.where(falling, torch.zeros_like(s.stalled), s.stalled)
        s.best = torch.where(falling, s.decrement, s.best)
        s.reached = torch.where(asked, value, s.reached)

    def _finish(self, iteration: int, tolerance: float) -> None:
        """Record all columns, against their exact objectives."""
        s = self.state
        s.value = self.logits.value(s.columns)
        s.done = s.decrement <= tolerance * s.value
        self.optima.record(s, iteration)

    def _drop(self, over: Tensor, iteration: int) -> None:
        """Record all columns and continue with those that are not over."""
        self.optima.record(self.state, iteration)
        T = self.columns.l2.shape[1]
        heads, index = self.state.remaining(over)
        self.state = self.state.take(heads, index)
        self.pairs.keep((heads[:, None] * T + index).view(-1), self.columns.parameters.shape)
        self.gap.keep(heads, index)
        if self.inverse is not None:
            self.inverse = self.inverse[heads[:, None], index]
        self.metric = self.metric.keep(heads.tolist())
        self.logits.keep(heads.tolist(), index, self.columns)
