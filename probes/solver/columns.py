"""Columns (a problem under a penalty) that are fitted: their objectives and current parameters."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from probes.solver.buffers import Workspace
from probes.solver.likelihood import label_moments
from probes.solver.problem import Problems
from probes.solver.standardise import Standardised

ABSENT = -30.0
"""Logit of a class without rows below the mean of the others: its optimum is minus infinity."""


@dataclass(frozen=True)
class Columns:
    """T columns (a problem under a penalty) of each of H heads; n = D + 1 with the intercept."""

    index: Tensor
    """(H, T) position among the columns that the search started with."""
    problem: Tensor
    """(H, T) row of the weights."""
    parameters: Tensor
    """(H, T, C', n)."""
    moments: Tensor
    """(H, T, C', n) label moments: the linear part of the likelihood."""
    penalty: Tensor
    """(H, T, 1, n): l2 * std**2, and 0 for the intercept."""
    live: Tensor
    """(H, T, C', n) in the fit's dtype: 0 where a parameter is held (constant feature, no rows)."""
    l2: Tensor
    """(H, T)."""
    rows: Tensor
    """(H, T) sum of the row weights."""
    centre: Tensor
    """(H, T, D) mean of x."""
    least: Tensor
    """(H, T) smallest weight of a training row."""
    null: Tensor
    """(H, T) objective of the best constant probe: no iterate is above it."""

    def take(self, heads: Tensor, index: Tensor) -> Columns:
        """Columns index (H', T') of the present heads (H')."""
        return replace(
            self, **{f.name: getattr(self, f.name)[heads[:, None], index] for f in fields(self)}
        )


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products (H, T) of (H, T, C', n)."""
    return (a * b).sum((-1, -2))


def initial_columns(
    problems: Problems,
    standardised: Standardised,
    weights: Tensor,
    start: tuple[Tensor, Tensor] | None,
    space: Workspace,
) -> Columns:
    """All P x K columns of each head, at the best constant probe or at given parameters.

    start: weights (H, P, K, C', D) and biases (H, P, K, C') on raw z.
    """
    H, _, D = problems.z.shape
    P, K = len(problems.labels), len(problems.l2)
    C = 1 if problems.classes == 2 else problems.classes
    moments = label_moments(standardised.x, problems.labels, weights, C, space)  # (H, P, C', n)
    rows = weights.sum(-1)  # (P,)
    counts = moments[..., -1]  # (H, P, C')
    share = (counts / rows[:, None]).clamp(0, 1)
    live = torch.ones_like(moments)
    live[..., :-1] = standardised.varies[:, :, None].to(live.dtype)
    parameters = torch.zeros_like(moments)
    if C == 1:
        alone = (share == 0) | (share == 1)
        logit = torch.logit(share.clamp(1e-30, 1 - 1e-7))
        parameters[..., -1] = torch.where(alone, ABSENT * (1 - 2 * share), logit)
        null = -rows * (torch.xlogy(share, share) + torch.xlogy(1 - share, 1 - share))[..., 0]
        live *= (~alone)[..., None]
    else:
        present = counts > 0
        logs = torch.where(present, share.clamp_min(1e-30).log(), torch.zeros_like(share))
        mean = logs.sum(-1, keepdim=True) / present.sum(-1, keepdim=True)
        parameters[..., -1] = torch.where(present, logs - mean, torch.full_like(logs, 2 * ABSENT))
        null = -rows * torch.xlogy(share, share).sum(-1)
        live *= present[..., None]
    l2 = torch.tensor(problems.l2, dtype=weights.dtype, device=weights.device)
    penalty = torch.cat([standardised.std**2, torch.zeros_like(standardised.std[..., :1])], -1)
    penalty = l2[:, None] * penalty[:, :, None]  # (H, P, K, n)

    def by_column(t: Tensor) -> Tensor:  # (H, P, ...) -> (H, P * K, ...)
        return t[:, :, None].expand(H, P, K, *t.shape[2:]).reshape(H, P * K, *t.shape[2:])

    parameters = by_column(parameters).contiguous()
    if start is not None:
        weight = (start[0] * standardised.scale[:, :, None, None]).view(H, P * K, C, D)
        bias = start[1] + (start[0] * standardised.mean[:, :, None, None]).sum(-1)
        given = torch.cat([weight, bias.view(H, P * K, C, 1)], -1).to(weights.dtype)
        parameters = torch.where(by_column(live) > 0, given, parameters)
    problem = torch.arange(P, device=weights.device).expand(H, P)
    return Columns(
        index=torch.arange(P * K, device=weights.device).expand(H, P * K),
        problem=by_column(problem),
        parameters=parameters,
        moments=by_column(moments),
        penalty=penalty.view(H, P * K, 1, D + 1),
        live=by_column(live),
        l2=l2.repeat(P).expand(H, P * K),
        rows=by_column(rows.expand(H, P)),
        centre=by_column(standardised.centre),
        least=by_column(weights.masked_fill(weights == 0, float("inf")).amin(-1).expand(H, P)),
        null=by_column(null),
    )


def centred(v: Tensor, problems: Problems) -> Tensor:
    """Softmax parameters (H, P, K, C, n) that sum to 0 over the classes with training rows."""
    P, C = len(problems.labels), problems.classes
    present = torch.zeros(P, C, dtype=torch.bool, device=v.device)
    for p in range(P):
        present[p, problems.labels[p][problems.weights[p] > 0].unique()] = True
    mask = present[:, None, :, None].to(v.dtype)  # (P, 1, C, 1)
    mean = (v * mask).sum(-2, keepdim=True) / mask.sum(-2, keepdim=True)
    absent = torch.zeros_like(v)
    absent[..., -1] = ABSENT
    return torch.where(present[:, None, :, None], v - mean, absent)
