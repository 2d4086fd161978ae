"""Solve all columns of some heads: along the path of penalties, in float32 and then float64."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from probes.solver import tuning
from probes.solver.buffers import Workspace
from probes.solver.columns import centred, initial_columns
from probes.solver.hessian_sample import hessian_cost
from probes.solver.likelihood import class_logits
from probes.solver.logits import Logits
from probes.solver.metric import GramMetric
from probes.solver.newton import LARGEST, NEARLY_SEPARABLE, with_certain_gap
from probes.solver.problem import Problems, Solution
from probes.solver.quasi_newton import QuasiNewton
from probes.solver.rows import Rows, on_gpu
from probes.solver.standardise import Standardised, standardise
from probes.solver.state import Optima

CAUTION = 2.5
"""Reported gap over the Newton decrement as ``GapEstimate`` has corrected it. On real heads, nearly
separable ones and units wider than they have rows the true gap is at most 1.5 times that, and at a
tolerance of 1e-3 2.4 times."""
SAFETY = 1.05 * CAUTION
"""Factor by which the decrement must fall below the tolerance: the optimum estimated during the
search differs a little from the one that the reported gap is relative to."""
SINGLE_ITERATIONS = 200
"""Iterations in float32 after which a column is continued in float64."""
CANCELLED = 1e-3
"""Objective per row below which float32 does not do: it is the difference of large numbers."""
FIRST_HESSIAN = {"logit": 11, "softmax": 2}
"""Iterations in float32 before which no column gets a Hessian of its own, however cheap. The shared
metric of one logit is nearly its Hessian already, and more so than that of a softmax."""
SOONER = 8
"""In float64 a wide column gets its Hessian after this fraction of the iterations that it costs."""


def solve_problems(
    problems: Problems,
    tolerance: float,
    max_iterations: int,
    budget: int,
    space: Workspace,
    start: tuple[Tensor, Tensor] | None = None,
) -> Solution:
    """Solve in float32, in float64 what float32 cannot settle, and make sure of what is nearly
    separable.

    budget: bytes of one buffer of logits. start: weights (H, P, K, C', D) and biases (H, P, K, C')
    on raw z that the search starts from; None: constant probes.
    """
    limit = min(max_iterations, SINGLE_ITERATIONS)
    solution = _solve(problems, torch.float32, tolerance, limit, budget, space, start)
    rows = problems.weights.sum(-1, dtype=torch.float64)[:, None]  # (P, 1)
    again = ~solution.done | (solution.value < CANCELLED * rows)
    again &= ~_without_optimum(problems, solution)
    for h, p, penalties in _chosen(again):
        part, found = problems.part(h, p, penalties), solution.part(h, p, penalties)
        near = found.weight, found.bias
        better = _solve(part, torch.float64, tolerance, max_iterations, budget, space, near)
        better.iterations.add_(found.iterations)
        solution.put(h, p, penalties, better)
    if solution.weight.shape[3] * (solution.weight.shape[4] + 1) <= LARGEST:
        doubtful = solution.value < NEARLY_SEPARABLE * rows
        doubtful &= ~_without_optimum(problems, solution)
        for h, p, penalties in _chosen(doubtful):
            part, found = problems.part(h, p, penalties), solution.part(h, p, penalties)
            better = with_certain_gap(part, found, tolerance / SAFETY, max_iterations, space)
            solution.put(h, p, penalties, better)
    unbounded = _without_optimum(problems, solution)
    solution.decrement[unbounded] = float("inf")
    solution.done[unbounded] = False
    return solution


def _chosen(columns: Tensor) -> Iterator[tuple[int, int, list[int]]]:
    """Head, problem and its penalties of the columns (H, P, K) that are True."""
    for h, p in columns.any(-1).nonzero().tolist():
        yield h, p, columns[h, p].nonzero()[:, 0].tolist()


def _without_optimum(problems: Problems, solution: Solution) -> Tensor:
    """(H, P, K): unpenalised columns that classify every training row correctly.

    Any multiple of such a probe is better than the probe, so there is no best one.
    """
    H, P, K = solution.value.shape
    unbounded = torch.zeros(H, P, K, dtype=torch.bool, device=problems.z.device)
    for k in (k for k in range(K) if problems.l2[k] == 0):
        for p in range(P):
            rows = (problems.weights[p] > 0).nonzero()[:, 0]
            y = problems.labels[p][rows]
            if len(y.unique()) < 2:
                continue
            for h in range(H):
                taken = rows if isinstance(problems.rows, slice) else problems.rows[rows]
                z = problems.z[h : h + 1][:, taken][0].double()
                scores = torch.addmm(solution.bias[h, p, k], z, solution.weight[h, p, k].t())
                scores = class_logits(scores)  # (n, C)
                label = scores.gather(1, y[:, None])
                others = scores.scatter(1, y[:, None], float("-inf"))
                unbounded[h, p, k] = bool((label[:, 0] > others.amax(1)).all())
    return unbounded


def _solve(
    problems: Problems,
    dtype: torch.dtype,
    tolerance: float,
    max_iterations: int,
    budget: int,
    space: Workspace,
    start: tuple[Tensor, Tensor] | None = None,
) -> Solution:
    """Solve in one dtype, as many columns at a time as have their logits within ``budget``.

    start: weights (H, P, K, C', D) and biases (H, P, K, C') on raw z; else constant probes.
    """
    H, _, D = problems.z.shape
    P, N = problems.labels.shape
    K, C = len(problems.l2), 1 if problems.classes == 2 else problems.classes
    device = problems.z.device
    weights = problems.weights.to(dtype)
    standardised = standardise(problems.z, problems.rows, weights, dtype, space)
    columns = initial_columns(problems, standardised, weights, start, space)
    dense = C == 1 and P * K <= tuning.DENSE_COLUMNS
    metric = _metric(standardised, weights, space, decomposed=not dense)
    size = torch.finfo(dtype).bits // 8
    width = max(1, budget // (size * H * C * N))
    if D > tuning.NARROW and not on_gpu(standardised.x):
        width = 1  # the path saves more passes than one product for all penalties saves time
    optima: list[Optima] = []
    search: QuasiNewton | None = None
    heads = torch.arange(H, device=device)
    for begin in range(0, P * K, width):
        index = torch.arange(begin, min(P * K, begin + width), device=device)
        block = columns.take(heads, index.expand(H, -1))
        block = replace(block, index=torch.arange(len(index), device=device).expand(H, -1))
        # Where logits are too many for one block, the path is followed: from the last penalty on.
        warm = bool(optima) and begin % K != 0
        if warm:
            block.parameters.copy_(optima[-1].parameters[:, -1:].expand_as(block.parameters))
        cold = start is None and not warm
        rows = Rows(standardised.padded, N)
        search = QuasiNewton(
            block,
            Logits(rows, weights, block, space, constant=cold),
            metric,
            refresh_after=_first_hessian(N, D, C, len(index), dtype),
            dense=dense,
            before=search if warm else None,
        )
        optima.append(search.run(tolerance / SAFETY, max_iterations))
    whole = Optima.concatenate(optima)
    v = whole.parameters.view(H, P, K, C, D + 1).double()
    if C > 1:
        v = centred(v, problems)
    weight, bias = standardised.to_raw(v[..., :-1], v[..., -1])
    return Solution(
        weight=weight,
        bias=bias,
        value=whole.value.view(H, P, K),
        decrement=whole.decrement.view(H, P, K),
        iterations=whole.iterations.view(H, P, K),
        done=whole.done.view(H, P, K),
    )


def _metric(
    standardised: Standardised, weights: Tensor, space: Workspace, *, decomposed: bool
) -> GramMetric:
    """The metric shared by all columns of a head: of the rows under the mean problem's weights."""
    centre = standardised.centre * weights.sum(-1)[:, None]  # (H, P, D)
    mean = centre.sum(1) / weights.sum()  # (H, D)
    rows = Rows(standardised.padded, weights.shape[1])
    metric = GramMetric(rows, weights.mean(0), mean, space)
    if decomposed:
        metric.decompose()
    return metric


def _first_hessian(rows: int, width: int, classes: int, columns: int, dtype: torch.dtype) -> int:
    """Iterations after which a column may get its own Hessian.

    As in renting or buying, the search goes on with the shared metric until its iterations have
    cost as much as a Hessian. In float64, where columns are stiff, a narrow logit gets one before
    each iteration, and what has an expensive one gets it earlier than in float32.
    """
    if dtype == torch.float32:
        cost = hessian_cost(rows, width, classes, columns)
        return max(FIRST_HESSIAN["logit" if classes == 1 else "softmax"], round(cost))
    if width > tuning.NARROW:
        return round(hessian_cost(rows, width, classes, columns) / SOONER)
    cost = hessian_cost(rows, width, classes, columns, sampled=False)
    return 0 if classes == 1 else round(cost / SOONER)
