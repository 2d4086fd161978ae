"""All columns of a chunk of heads: standardised, put into blocks, solved, folded to raw z."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from probes.solver.buffers import Workspace
from probes.solver.columns import Columns, Passes
from probes.solver.curvature import NARROW, GramCurvature, hessian_cost
from probes.solver.likelihood import label_moments
from probes.solver.quasi_newton import Found, QuasiNewton
from probes.solver.rows import Rows, batched
from probes.solver.standardise import Standardised, standardise

ABSENT = -30.0
"""Logit of a class without rows below the mean of the others: its optimum is minus infinity."""
DENSE_COLUMNS = 4
"""Up to so many columns a head, inverting each one's matrix is cheaper than eigenvectors."""
CAUTION = 2.5
"""Reported gap over the Newton decrement as ``Gains`` has judged it. On real heads, nearly
separable ones and units wider than they have rows the true gap is at most 1.5 times that, and at a
tolerance of 1e-3 2.4 times."""
SAFETY = 1.05 * CAUTION
"""How far below the tolerance the decrement must fall: an optimum estimated on the way is not
quite the one reported."""


@dataclass(frozen=True)
class ChunkProblem:
    """What fit_logistic was asked for, on the rows that a group of problems uses."""

    z: Tensor
    """(H, M, D) raw."""
    rows: slice | Tensor
    """The N of the M rows that are used: all, or (N,)."""
    labels: Tensor
    """(P, N)."""
    weights: Tensor
    """(P, N)."""
    l2: tuple[float, ...]
    classes: int

    def part(self, head: int, problem: int, penalties: list[int]) -> ChunkProblem:
        """One problem of one head under some of the penalties."""
        return replace(
            self,
            z=self.z[head : head + 1],
            labels=self.labels[problem : problem + 1],
            weights=self.weights[problem : problem + 1],
            l2=tuple(self.l2[k] for k in penalties),
        )


@dataclass(frozen=True)
class ChunkSolution:
    """(H, P, K, ...) on raw z, in float64."""

    weight: Tensor
    bias: Tensor
    value: Tensor
    decrement: Tensor
    """Estimate of value - optimum."""
    iterations: Tensor
    done: Tensor
    """False where the decrement is above the tolerance; it is infinite where no optimum exists."""

    def put(self, head: int, problem: int, penalties: list[int], other: ChunkSolution) -> None:
        """Replace some columns by the better ones of ``ChunkProblem.part``."""
        other.iterations.add_(self.iterations[head, problem, penalties])
        for field in fields(self):
            getattr(self, field.name)[head, problem, penalties] = getattr(other, field.name)[0, 0]


def solve_chunk(
    chunk: ChunkProblem, tolerance: float, max_iterations: int, budget: int, space: Workspace
) -> ChunkSolution:
    """Solve in float32, and in float64 what float32 cannot settle."""
    first = min(max_iterations, 200)
    solution = _solve(chunk, torch.float32, tolerance, first, budget, space)
    rows = chunk.weights.sum(-1, dtype=torch.float64)[:, None]  # (P, 1)
    # Such a small objective is the difference of large float32 numbers.
    again = ~solution.done | (solution.value < 1e-3 * rows)
    again &= ~_without_optimum(chunk, solution)
    for h in again.flatten(1).any(-1).nonzero()[:, 0].tolist():
        for p in again[h].any(-1).nonzero()[:, 0].tolist():
            ks = again[h, p].nonzero()[:, 0].tolist()
            start = solution.weight[h, p, ks][None, None], solution.bias[h, p, ks][None, None]
            part = chunk.part(h, p, ks)
            better = _solve(part, torch.float64, tolerance, max_iterations, budget, space, start)
            solution.put(h, p, ks, better)
    endless = _without_optimum(chunk, solution)
    solution.decrement[endless] = float("inf")
    solution.done[endless] = False
    return solution


def _without_optimum(chunk: ChunkProblem, solution: ChunkSolution) -> Tensor:
    """(H, P, K): unpenalised columns that put every training row on its side.

    Any multiple of such a probe is better than the probe, so there is no best one.
    """
    H, P, K = solution.value.shape
    found = torch.zeros(H, P, K, dtype=torch.bool, device=chunk.z.device)
    for k in (k for k in range(K) if chunk.l2[k] == 0):
        for p in range(P):
            rows = (chunk.weights[p] > 0).nonzero()[:, 0]
            y = chunk.labels[p][rows]
            if len(y.unique()) < 2:
                continue
            for h in range(H):
                kept = rows if isinstance(chunk.rows, slice) else chunk.rows[rows]
                z = chunk.z[h][kept].double()
                logits = torch.addmm(solution.bias[h, p, k], z, solution.weight[h, p, k].t())
                if logits.shape[1] == 1:
                    logits = torch.cat([torch.zeros_like(logits), logits], 1)  # (n, C)
                own = logits.gather(1, y[:, None])
                others = logits.scatter(1, y[:, None], float("-inf"))
                found[h, p, k] = bool((own[:, 0] > others.amax(1)).all())
    return found


def _solve(
    chunk: ChunkProblem,
    dtype: torch.dtype,
    tolerance: float,
    max_iterations: int,
    budget: int,
    space: Workspace,
    start: tuple[Tensor, Tensor] | None = None,
) -> ChunkSolution:
    H, _, D = chunk.z.shape
    P, N = chunk.labels.shape
    K, C = len(chunk.l2), 1 if chunk.classes == 2 else chunk.classes
    weights = chunk.weights.to(dtype)
    ready = standardise(chunk.z, chunk.rows, weights, dtype, space)
    columns = _columns(chunk, ready, weights, start, space)
    union = weights.mean(0)
    centre = (ready.centre * weights.sum(-1)[:, None]).sum(1) / weights.sum()  # (H, D)
    size = torch.finfo(dtype).bits // 8
    width = max(1, budget // (size * H * C * N))
    if D > NARROW and not batched(ready.x):
        width = 1  # the path saves more passes than one product for all penalties saves time
    found: list[Found] = []
    search: QuasiNewton | None = None
    metric = GramCurvature(Rows(ready.padded, N), union, centre, space)
    dense = C == 1 and P * K <= DENSE_COLUMNS
    if not dense:
        metric.decompose()
    for begin in range(0, P * K, width):
        index = torch.arange(begin, min(P * K, begin + width), device=chunk.z.device)
        heads = torch.arange(H, device=chunk.z.device)
        block = columns.take(heads, index.expand(H, -1))
        block = replace(block, index=torch.arange(len(index), device=index.device).expand(H, -1))
        # Where logits are too many for one block, the path is followed: from the last penalty on.
        warm = bool(found) and begin % K != 0
        if warm:
            block.parameters.copy_(found[-1].parameters[:, -1:].expand_as(block.parameters))
        cold = start is None and not warm
        passes = Passes(Rows(ready.padded, N), weights, block, space, constant=cold)
        # Renting passes is cheaper than buying a Hessian until they have cost as much.
        cost = hessian_cost(N, D, C, len(index))
        # In float64, where columns are stiff, at once; but a wide one has to earn it there too.
        soon = 0 if D <= NARROW else round(cost / 8)
        least = 11 if C == 1 else 2  # the metric of one logit is nearly its Hessian already
        first = max(least, round(cost)) if dtype == torch.float32 else soon
        before = search if warm else None
        search = QuasiNewton(block, passes, metric, refresh_after=first, dense=dense, before=before)
        found.append(search.run(tolerance / SAFETY, max_iterations))
    joined = [torch.cat([getattr(f, n.name) for f in found], dim=1) for n in fields(Found)]
    parameters, value, decrement, iterations, done = joined
    v = parameters.view(H, P, K, C, D + 1).double()
    if C > 1:
        v = _centred(v, chunk, ready)
    weight, bias = ready.to_raw(v[..., :-1], v[..., -1])
    return ChunkSolution(
        weight, bias, *(t.view(H, P, K) for t in (value, decrement, iterations, done))
    )


def _columns(
    chunk: ChunkProblem,
    ready: Standardised,
    weights: Tensor,
    start: tuple[Tensor, Tensor] | None,
    space: Workspace,
) -> Columns:
    """All P x K columns of each head, at the best constant probe or at a start given on raw z."""
    H, _, D = chunk.z.shape
    P, K = len(chunk.labels), len(chunk.l2)
    C = 1 if chunk.classes == 2 else chunk.classes
    moments = label_moments(ready.x, chunk.labels, weights, C, space)  # (H, P, C', n)
    rows = weights.sum(-1)  # (P,)
    counts = moments[..., -1]  # (H, P, C')
    part = (counts / rows[:, None]).clamp(0, 1)
    live = torch.ones_like(moments)
    live[..., :-1] = ready.varies[:, :, None].to(live.dtype)
    parameters = torch.zeros_like(moments)
    if C == 1:
        alone = (part == 0) | (part == 1)
        logit = torch.logit(part.clamp(1e-30, 1 - 1e-7))
        parameters[..., -1] = torch.where(alone, ABSENT * (1 - 2 * part), logit)
        null = -rows * (torch.xlogy(part, part) + torch.xlogy(1 - part, 1 - part))[..., 0]
        live *= (~alone)[..., None]
    else:
        there = counts > 0
        logs = torch.where(there, part.clamp_min(1e-30).log(), torch.zeros_like(part))
        mean = logs.sum(-1, keepdim=True) / there.sum(-1, keepdim=True)
        parameters[..., -1] = torch.where(there, logs - mean, torch.full_like(logs, 2 * ABSENT))
        null = -rows * torch.xlogy(part, part).sum(-1)
        live *= there[..., None]
    l2 = torch.tensor(chunk.l2, dtype=weights.dtype, device=weights.device)
    penalty = torch.cat([ready.spread**2, torch.zeros_like(ready.spread[..., :1])], -1)
    penalty = l2[:, None] * penalty[:, :, None]  # (H, P, K, n)

    def spread(t: Tensor) -> Tensor:  # (H, P, ...) -> (H, P * K, ...)
        return t[:, :, None].expand(H, P, K, *t.shape[2:]).reshape(H, P * K, *t.shape[2:])

    parameters = spread(parameters).contiguous()
    if start is not None:
        weight = (start[0] * ready.scale[:, :, None, None]).view(H, P * K, C, D)
        bias = start[1] + (start[0] * ready.mean[:, :, None, None]).sum(-1)
        given = torch.cat([weight, bias.view(H, P * K, C, 1)], -1).to(weights.dtype)
        parameters = torch.where(spread(live) > 0, given, parameters)
    problem = torch.arange(P, device=weights.device).expand(H, P)
    return Columns(
        index=torch.arange(P * K, device=weights.device).expand(H, P * K),
        problem=spread(problem),
        parameters=parameters,
        moments=spread(moments),
        penalty=penalty.view(H, P * K, 1, D + 1),
        live=spread(live),
        l2=l2.repeat(P).expand(H, P * K),
        rows=spread(rows.expand(H, P)),
        centre=spread(ready.centre),
        least=spread(weights.masked_fill(weights == 0, float("inf")).amin(-1).expand(H, P)),
        null=spread(null),
    )


def _centred(v: Tensor, chunk: ChunkProblem, ready: Standardised) -> Tensor:
    """Softmax parameters (H, P, K, C, n) that sum to 0 over the classes with training rows."""
    P, C = len(chunk.labels), chunk.classes
    there = torch.zeros(P, C, dtype=torch.bool, device=v.device)
    for p in range(P):
        there[p, chunk.labels[p][chunk.weights[p] > 0].unique()] = True
    mask = there[:, None, :, None].to(v.dtype)  # (P, 1, C, 1)
    mean = (v * mask).sum(-2, keepdim=True) / mask.sum(-2, keepdim=True)
    absent = torch.zeros_like(v)
    absent[..., -1] = ABSENT
    return torch.where(there[:, None, :, None], v - mean, absent)
