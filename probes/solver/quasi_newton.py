"""Batched L-BFGS in the metric of each head's own curvature, each column judged alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from probes.solver.columns import Columns, Passes
from probes.solver.curvature import (
    NARROW,
    Coupling,
    GramCurvature,
    hessian_stride,
    invert_,
    own_hessians,
)
from probes.solver.gap_estimate import Gains
from probes.solver.lbfgs import Secants

LEAVING = 0.06
"""Share of the columns that must have ended before they are taken out of the products."""
LONGEST = 1e3
SETTLED = 0.03
"""Decrement, relative to the objective, from which the objective is no longer computed: what is
still to be gained is hardly any of it."""
STALLED = 6
"""Iterations without progress after which a column gets a fresh Hessian."""
RENEWED = (1, 2, 4, 8, 16)
"""Iterations before which the coupling of the classes is taken anew."""
WEIGHED = 4
"""That of them before which the rows are weighed anew, where the search started cold."""
SLOPE = {"logit": 0.4, "softmax": 0.6}
"""A step is accepted once the slope along it has fallen to this part: the line search looks at
logits only, so a nearly exact one is cheaper than another pass over the rows."""


@dataclass
class Found:
    """Where the columns of a bank ended, by their position in it."""

    parameters: Tensor
    """(H, T, C', n)."""
    value: Tensor
    """(H, T) float64 objective."""
    decrement: Tensor
    """(H, T) float64 estimate of objective - optimum."""
    iterations: Tensor
    """(H, T) int64."""
    done: Tensor
    """(H, T) bool."""


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products (H, T) of (H, T, C', n)."""
    return (a * b).sum((-1, -2))


class QuasiNewton:
    def __init__(
        self,
        columns: Columns,
        passes: Passes,
        metric: GramCurvature,
        *,
        refresh_after: int,
        dense: bool,
        before: QuasiNewton | None = None,
    ) -> None:
        """before: a finished search of the same columns under other penalties, whose pairs hold
        here too, but for what the penalties add."""
        self.columns, self.passes, self.metric = columns, passes, metric
        self.refresh_after, self.dense = refresh_after, dense
        self.inverse: Tensor | None = None
        self.secants = Secants(columns.parameters)
        # Not if some of its columns had ended before the others, or this block has other problems.
        if before is not None and torch.equal(before.columns.problem, columns.problem):
            self.secants.follow(before.secants, columns.penalty - before.columns.penalty)
        self.gains = Gains(columns.null)
        H, T = columns.l2.shape
        self.found = Found(
            columns.parameters.clone(),
            columns.null.double().clone(),
            columns.null.double().clone(),
            torch.zeros(H, T, dtype=torch.int64, device=columns.l2.device),
            torch.zeros(H, T, dtype=torch.bool, device=columns.l2.device),
        )
        self.heads = torch.arange(H, device=columns.l2.device)

    def run(self, tolerance: float, max_iterations: int) -> Found:
        """Minimise all columns to a relative decrement of ``tolerance``."""
        passes = self.passes
        weigh_at = self._weigh_at()
        gradient = passes.gradient(self.columns)
        if weigh_at == 0:
            self.metric = self._weighed()
        coupling = self._coupling()
        if self.dense:
            c = self.columns
            self.inverse = self.metric.inverse(coupling.values, c.l2)
        value = optimum = self.columns.null.double()
        settled = torch.zeros_like(value, dtype=torch.bool)
        stalled = torch.zeros_like(value, dtype=torch.int64)
        best = torch.full_like(value, float("inf"))
        refreshed, pause, started = 0, self.refresh_after, value
        patience = self.refresh_after + 2 * STALLED  # a stalled column waits for its own Hessian
        for iteration in range(max_iterations + 1):
            direction, hidden = self._direction(gradient, coupling)
            slope = dot(gradient, direction)
            # Not downhill: rounding has spoilt the pairs, the metric alone is safe.
            if self.secants.count and bool((slope > 0).any()):
                self.secants.clear()
                direction, hidden = self._direction(gradient, coupling)
                slope = dot(gradient, direction)
            plain = (0.5 * (hidden - slope)).double().clamp_min(0)
            decrement = self.gains.judged(plain)
            free = self.columns.l2 == 0
            value = torch.where(settled, optimum + decrement, value)
            # Against an earlier value, which is an upper bound.
            if bool((free | (decrement <= tolerance * value) & ~settled).any()):
                value = passes.value(self.columns)
                optimum, settled = value - decrement, decrement <= SETTLED * value
            done = decrement <= tolerance * (value - decrement)
            better = decrement < 0.9 * best
            stalled = torch.where(better, torch.zeros_like(stalled), stalled + 1)
            best = torch.minimum(best, decrement)
            # With a loss below log 2 on every row all are on their side; unpenalised, the weights
            # would then grow for ever.
            endless = free & (value < 0.6 * self.columns.least)
            over = done | endless | (stalled >= patience) | ~slope.isfinite()
            if bool(over.all()) or iteration == max_iterations:
                value = passes.value(self.columns)
                self._record(iteration, value, decrement, decrement <= tolerance * value)
                break
            if iteration == refreshed:
                started = plain
            if int(over.sum()) >= LEAVING * over.numel():
                self._record(iteration, value, decrement, done)
                heads, index = self._remaining(over)
                at = heads[:, None], index
                gradient, direction, slope = (t[at] for t in (gradient, direction, slope))
                coupling = coupling.take(heads, index)
                value, optimum, settled, stalled, best = (
                    t[at] for t in (value, optimum, settled, stalled, best)
                )
                started, plain, decrement = (t[at] for t in (started, plain, decrement))
                self._keep(heads, index)
            step, end = self._search(direction, slope)
            self.gains.fall(-0.5 * (slope + end).double() * step)  # of a quadratic, exactly
            moved = direction * step[:, :, None, None]
            self.columns.parameters.add_(moved)
            new = passes.gradient(self.columns)
            self.secants.add(moved, new - gradient)
            gradient = new
            since = iteration + 1 - refreshed
            stuck = since >= self.refresh_after and int(stalled.max()) >= STALLED
            if stuck or (
                since >= pause
                and self._far(started / plain, decrement / (tolerance * value), since)
            ):
                self._refresh()
                refreshed, pause = iteration + 1, 2 * pause
            elif self.inverse is None and iteration + 1 in RENEWED:
                if iteration + 1 == weigh_at:
                    self.metric = self._weighed()
                coupling = self._coupling()
        return self.found

    def _weigh_at(self) -> int | None:
        """The iteration at which the rows are weighed by what they curve, if at all."""
        _, _, C, n = self.columns.parameters.shape
        if C == 1:
            return None  # its own Hessian comes soon
        if self.passes.constant:
            return WEIGHED if n - 1 <= NARROW else None
        return 0

    def _far(self, fallen: Tensor, above: Tensor, since: int) -> bool:
        """Whether a Hessian pays: some column, whose decrement has become ``fallen`` times smaller
        in ``since`` iterations and is still ``above`` times too large, takes longer than it costs.
        """
        gone, left = fallen.log().clamp_min(0), above.log()
        return bool((left * since > self.refresh_after * gone).any())

    def _coupling(self) -> Coupling:
        return Coupling.of(self.passes.coupling(), self.columns.rows * 1e-7 + 1e-12)

    def _weighed(self) -> GramCurvature:
        """The metric at the probabilities that the columns have now."""
        p = self.passes
        return GramCurvature.weighed(p.rows, p.curvature(), p.space)

    def _direction(self, gradient: Tensor, coupling: Coupling) -> tuple[Tensor, Tensor]:
        """Minus the L-BFGS inverse Hessian times the gradient, and what the decrement is short of.

        Scaling the metric to the stiffest recent direction suits the step and flatters the
        decrement: what is left to gain is in the softer ones. So that part is counted unscaled.
        """
        hidden = torch.zeros_like(coupling.values[..., 0])
        if self.secants.count == 0:
            (answer,) = self._metric([gradient], coupling)
            return answer.mul(self.columns.live).neg_(), hidden
        before, factors = self.secants.before(gradient)
        # The metric is scaled to the curvature last met, so that a step of 1 mostly fits.
        change, product = self.secants.last()
        answer, other = self._metric([before, change], coupling)
        along = dot(change, other)
        met = torch.where(along > 0, product / along, torch.ones_like(along))
        hidden = (1 - met).clamp_min(0) * dot(before, answer)
        direction = self.secants.after(answer * met[:, :, None, None], factors)
        return direction.mul_(self.columns.live).neg_(), hidden

    def _metric(self, vectors: list[Tensor], coupling: Coupling) -> tuple[Tensor, ...]:
        """The metric times each of some vectors (H, T, C', n), all in one product."""
        stacked = torch.stack(vectors, dim=3)  # (H, T, C', m, n)
        if self.inverse is None:
            found = self.metric.apply(stacked, coupling, self.columns.l2)
        else:
            found = torch.matmul(stacked, self.inverse)  # symmetric
        if stacked.shape[2] > 1:
            # What all classes of a softmax have in common curves nothing but the penalty, though
            # each class by itself seems to; gradients have none of it, and steps should not.
            present = self.columns.live[..., -1:, None]  # (H, T, C', 1, 1)
            common = (found * present).sum(2, keepdim=True)
            found -= common / present.sum(2, keepdim=True).clamp_min(1)
        return found.unbind(3)

    def _search(self, direction: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        """Step lengths (H, T) at which the slope has nearly vanished, and what is left of it."""
        passes, c = self.passes, self.columns
        passes.point_along(direction)
        stiff = c.penalty * direction
        constant = dot(stiff, c.parameters) - dot(c.moments, direction)
        quadratic = dot(stiff, direction)
        step = torch.ones_like(slope)
        passes.move(step)
        here = passes.slope() + constant + step * quadratic
        part = SLOPE["logit" if c.parameters.shape[2] == 1 else "softmax"]
        bad = (here.abs() > -part * slope).view(-1).nonzero()[:, 0]
        if len(bad) == 0:
            return step, here
        step, constant, quadratic = step.view(-1), constant.view(-1), quadratic.view(-1)
        end = here.reshape(-1).clone()
        start, here = slope.view(-1)[bad], end[bad]
        low, low_slope = torch.zeros_like(start), start.clone()
        high = torch.full_like(start, float("inf"))
        high_slope = torch.zeros_like(start)
        now = step[bad]
        for _ in range(10):
            under = here < 0
            low_slope = torch.where(under, here, low_slope)
            low = torch.where(under, now, low)
            high_slope = torch.where(under, high_slope, here)
            high = torch.where(under, high, now)
            # Secant between the ends of the bracket; before there is one, from 0 and here.
            inside = low - low_slope * (high - low) / (high_slope - low_slope)
            margin = 0.05 * (high - low)
            inside = torch.minimum(torch.maximum(inside, low + margin), high - margin)
            outside = now * (start / (start - here)).clamp(1.2, 8.0)
            outside = torch.where(start < here, outside, 8 * now)
            target = torch.where(high.isinf(), outside, inside)
            target = torch.nan_to_num(target, nan=0.0).clamp(max=LONGEST)
            passed = passes.move_some(bad, target - now)
            now = target
            step[bad] = now
            here = passed + constant[bad] + now * quadratic[bad]
            end[bad] = here
            left = here.abs() > -part * start
            if not bool(left.any()):
                break
            bad, start, here, now = bad[left], start[left], here[left], now[left]
            low, low_slope, high, high_slope = (t[left] for t in (low, low_slope, high, high_slope))
        return step.view(slope.shape), end.view(slope.shape)

    def _refresh(self) -> None:
        """Each column's own Hessian at its present point replaces the shared metric."""
        p, c = self.passes, self.columns
        H, T, C, n = c.parameters.shape
        step = hessian_stride(p.rows.count, n)
        found = c.parameters.new_empty(H, T, C, n, n)
        spread = p.spread(step)  # (H, K, T, C', b)
        for i, head in enumerate(p.rows.heads):
            x = p.rows.x[head, :, ::step]  # (K, b, D)
            rows = p.space.empty("rooted", (*x.shape[:2], n), found)
            rows[..., :-1], rows[..., -1] = x, 1
            rows = rows.flatten(0, 1)
            curvature = spread[i].permute(1, 2, 0, 3).reshape(T * C, len(rows))
            own_hessians(rows, curvature, found[i].flatten(0, 1))
        invert_(found.flatten(0, 2), c.penalty.expand(H, T, C, n).reshape(-1, n))
        self.inverse = found

    def _record(self, iteration: int, value: Tensor, decrement: Tensor, done: Tensor) -> None:
        f, at = self.found, (self.heads[:, None], self.columns.index)
        f.parameters[at] = self.columns.parameters
        f.value[at] = value
        f.decrement[at] = decrement
        f.iterations[at] = iteration
        f.done[at] = done

    def _remaining(self, over: Tensor) -> tuple[Tensor, Tensor]:
        """Heads (H') with work left, and as many columns (H', T') of each as the busiest has."""
        left = (~over).sum(-1)
        heads = (left > 0).nonzero()[:, 0]
        order = torch.argsort(over[heads].to(torch.int8), dim=-1, stable=True)
        index = order[:, : int(left.max())]
        return heads, torch.sort(index, dim=-1).values

    def _keep(self, heads: Tensor, index: Tensor) -> None:
        T = self.columns.l2.shape[1]
        self.columns = self.columns.take(heads, index)
        self.heads = self.heads[heads]
        flat = (heads[:, None] * T + index).view(-1)
        self.secants.keep(flat, self.columns.parameters.shape)
        self.gains.keep(heads, index)
        if self.inverse is not None:
            self.inverse = self.inverse[heads[:, None], index]
        self.metric = self.metric.keep(heads.tolist())
        self.passes.keep(heads.tolist(), index, self.columns)
