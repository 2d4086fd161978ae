"""Newton steps with the whole Hessian: the last word on columns that are nearly separable.

A search ends when its metric says that hardly anything is left to gain. Where classes are nearly
separable and the penalty is tiny, the objective is flat in some directions in which the metric, of
each class apart, is stiff, and fifteen times as much can be left. The whole Hessian, with the
classes coupled, knows: half of g.H^-1 g was within 3% of what was left in 288 fits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from probes.solver import tuning
from probes.solver.buffers import Workspace
from probes.solver.columns import dot, initial_columns
from probes.solver.likelihood import log_partition, probabilities
from probes.solver.problem import Problems, Solution
from probes.solver.remade_rows import RemadeRows
from probes.solver.standardise import standardise

NEARLY_SEPARABLE = 0.03
"""Objective per row below which the classes are."""
LARGEST = 512
"""Parameters of a column up to which its whole Hessian costs few passes over the rows. Wider ones
were honest without it."""
STEPS = 30
"""Newton steps at most; one or two are usual."""
SUFFICIENT = 0.25
"""Part of the decrease that the slope promises, which a step must bring."""
SHORTEST = 1e-6
"""Length below which a step is not halved any more: rounding is all that is left."""


def with_certain_gap(
    problems: Problems, found: Solution, tolerance: float, max_iterations: int, space: Workspace
) -> Solution:
    """The columns of one problem of one head, none worse than the tolerance if that can be.

    Columns whose Newton decrement is below it keep their parameters and get this decrement; the
    others take Newton steps first. A Hessian that is not positive definite (no penalty, dependent
    features) leaves a column as it was found.

    problems: of one head and one problem. found: their columns, (1, 1, K), which are changed.
    tolerance: of the decrement, relative to the optimum. max_iterations: of a column, with those
    that it has taken.
    """
    weights = problems.weights.double()
    standardised = standardise(problems.z, problems.rows, weights, torch.float64, space)
    columns = initial_columns(problems, standardised, weights, (found.weight, found.bias), space)
    moved = []
    for k in range(len(problems.l2)):
        at = 0, slice(k, k + 1)
        objective = _Objective(
            standardised.x,
            weights[0],
            columns.moments[at][0],
            columns.penalty[at][0],
            columns.live[at][0],
        )
        left = max_iterations - int(found.iterations[0, 0, k])
        most = max(0, min(STEPS, left))
        end = _newton(objective, columns.parameters[at][0], tolerance, most)
        if end is None:
            continue
        parameters, value, decrement, steps = end
        found.value[0, 0, k], found.decrement[0, 0, k] = value, decrement
        found.iterations[0, 0, k] += steps
        found.done[0, 0, k] = decrement <= tolerance * (value - decrement)
        columns.parameters[at] = parameters
        if steps:
            moved.append(k)
    v = columns.parameters[:, None]  # (1, 1, K, C', n)
    weight, bias = standardised.to_raw(v[..., :-1], v[..., -1])
    found.weight[:, :, moved], found.bias[:, :, moved] = weight[:, :, moved], bias[:, :, moved]
    return found


def _newton(
    objective: _Objective, v: Tensor, tolerance: float, most: int
) -> tuple[Tensor, float, float, int] | None:
    """Parameters (C', n), objective, decrement and steps taken, ``most`` at most; None without a
    Hessian."""
    for steps in range(most + 1):
        value = objective.value(v)
        gradient, hessian = objective.derivatives(v)
        factor, failed = torch.linalg.cholesky_ex(hessian)
        if int(failed):
            return None
        direction = torch.cholesky_solve(gradient.view(-1, 1), factor).view_as(v)
        decrement = 0.5 * float(dot(gradient, direction))
        if decrement <= tolerance * (value - decrement) or steps == most:
            break
        length = 1.0
        while objective.value(v - length * direction) > value - SUFFICIENT * length * decrement:
            length /= 2
            if length < SHORTEST:
                return v, value, decrement, steps
        v = v - length * direction
    return v, value, decrement, steps


class _Objective:
    """One column on the standardised rows, in float64."""

    def __init__(
        self,
        x: Tensor | RemadeRows,
        weights: Tensor,
        moments: Tensor,
        penalty: Tensor,
        live: Tensor,
    ) -> None:
        """x (1, N, D), weights (N,), moments and live (C', n), penalty (1, n)."""
        self.x, self.weights = x, weights
        self.moments, self.penalty, self.live = moments, penalty, live
        self.step = max(1, tuning.HESSIAN_NUMBERS // moments.numel())

    def value(self, v: Tensor) -> float:
        """At parameters (C', n)."""
        total = v.new_zeros(())
        for start in range(0, len(self.weights), self.step):
            rows, weights = self._rows(start)
            total += (weights * log_partition(v @ rows.mT)).sum()
        return float(total - (self.moments * v).sum() + 0.5 * (self.penalty * v * v).sum())

    def derivatives(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (C', n), and Hessian (C' n, C' n) in which held parameters stand alone."""
        C, n = v.shape
        gradient = self.penalty * v - self.moments
        hessian = v.new_zeros(C, n, C, n)
        for start in range(0, len(self.weights), self.step):
            rows, weights = self._rows(start)
            logits = v @ rows.mT  # (C', r)
            share = probabilities(logits, out=torch.empty_like(logits))
            gradient += (share * weights) @ rows
            for a in range(C):
                for b in range(a + 1):
                    curvature = weights * share[a] * ((1 - share[a]) if a == b else -share[b])
                    hessian[a, :, b] += (rows * curvature[:, None]).mT @ rows
        for a in range(C):
            hessian[a, :, a].diagonal().add_(self.penalty[0])
            for b in range(a):
                hessian[b, :, a] = hessian[a, :, b]  # symmetric in the features
        if C > 1:
            # Adding one number to all intercepts changes nothing: any curvature there will do.
            hessian[:, -1, :, -1] += hessian[:, -1, :, -1].diagonal().mean()
        held = self.live.flatten() == 0
        flat = hessian.view(C * n, C * n)
        flat[held] = 0
        flat[:, held] = 0
        flat.diagonal()[held] = 1
        return gradient * self.live, flat

    def _rows(self, start: int) -> tuple[Tensor, Tensor]:
        """Some rows with the intercept's ones (r, n), and their weights (r,)."""
        part = slice(start, start + self.step)
        x = self.x[:, part][0].double()
        return torch.cat([x, torch.ones_like(x[:, :1])], 1), self.weights[part]
