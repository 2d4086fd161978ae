"""Line search of all columns at once, on logits alone: no pass over the rows."""

from __future__ import annotations

import torch
from torch import Tensor

from probes.solver.columns import Columns, dot
from probes.solver.logits import Logits

LONGEST = 1e3
"""Longest step, in units of the direction."""
SLOPE = {"logit": 0.4, "softmax": 0.6}
"""A step is accepted once the slope along it has fallen to this part: the line search needs the
logits only, so a nearly exact one is cheaper than another pass over the rows."""


def search_line(
    logits: Logits, columns: Columns, direction: Tensor, slope: Tensor
) -> tuple[Tensor, Tensor]:
    """Step lengths (H, T) at which the slope has nearly vanished, and the slope there (H, T).

    The objective along a direction is the log-partition of logits that move linearly, plus a
    quadratic that is known. Its slope is increasing, so its zero is bracketed and then found by
    safeguarded secant steps; columns whose step is accepted are left out of what follows. Moves
    ``logits`` to the points found.

    direction: (H, T, C', n). slope: (H, T) of the objective at the start, below 0.
    """
    logits.point_along(direction)
    penalised = columns.penalty * direction
    constant = dot(penalised, columns.parameters) - dot(columns.moments, direction)
    quadratic = dot(penalised, direction)
    step = torch.ones_like(slope)
    logits.move(step)
    residual = logits.slope() + constant + step * quadratic
    accepted = SLOPE["logit" if columns.parameters.shape[2] == 1 else "softmax"]
    unfinished = (residual.abs() > -accepted * slope).view(-1).nonzero()[:, 0]
    if len(unfinished) == 0:
        return step, residual
    step, constant, quadratic = step.view(-1), constant.view(-1), quadratic.view(-1)
    end = residual.reshape(-1).clone()
    start, residual = slope.view(-1)[unfinished], end[unfinished]
    low, low_slope = torch.zeros_like(start), start.clone()
    high = torch.full_like(start, float("inf"))
    high_slope = torch.zeros_like(start)
    length = step[unfinished]
    for _ in range(10):
        under = residual < 0
        low_slope = torch.where(under, residual, low_slope)
        low = torch.where(under, length, low)
        high_slope = torch.where(under, high_slope, residual)
        high = torch.where(under, high, length)
        # Secant between the ends of the bracket; before there is one, extrapolated from 0.
        inside = low - low_slope * (high - low) / (high_slope - low_slope)
        margin = 0.05 * (high - low)
        inside = torch.minimum(torch.maximum(inside, low + margin), high - margin)
        outside = length * (start / (start - residual)).clamp(1.2, 8.0)
        outside = torch.where(start < residual, outside, 8 * length)
        target = torch.where(high.isinf(), outside, inside)
        target = torch.nan_to_num(target, nan=0.0).clamp(max=LONGEST)
        likelihood = logits.move_some(unfinished, target - length)
        length = target
        step[unfinished] = length
        residual = likelihood + constant[unfinished] + length * quadratic[unfinished]
        end[unfinished] = residual
        left = residual.abs() > -accepted * start
        if not bool(left.any()):
            break
        unfinished, start = unfinished[left], start[left]
        residual, length = residual[left], length[left]
        low, low_slope, high, high_slope = (t[left] for t in (low, low_slope, high, high_slope))
    return step.view(slope.shape), end.view(slope.shape)
