"""Exact L2-regularised logistic regression for all heads, problems and penalties at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from probes.core.errors import UserError
from probes.core.process import full_precision
from probes.solver import tuning
from probes.solver.buffers import borrowed
from probes.solver.penalty_path import CAUTION, solve_problems
from probes.solver.problem import Problems
from probes.solver.rows import on_gpu
from probes.solver.selected_rows import SelectedRows

DEFAULT_BUDGET = 1 << 30
"""Bytes that logits and standardised rows may take, unless the caller says otherwise."""


@dataclass(frozen=True)
class LogisticFit:
    """Optima of H heads x P problems x K penalties; the scaler is folded in, so z is taken raw."""

    weight: Tensor
    """(H, P, K, C', D) float32; C' = classes, but 1 for two classes (the logit of class 1)."""
    bias: Tensor
    """(H, P, K, C') float32."""
    gap: Tensor
    """(H, P, K) float64: upper estimate of (objective - optimum) / optimum; inf where no optimum
    exists."""
    iterations: Tensor
    """(H, P, K) int64: passes over the rows."""
    converged: Tensor
    """(H, P, K) bool: the gap is at most the tolerance."""
    messages: tuple[str, ...]
    """What a user should know: optima that do not exist, classes without rows, the cap."""


def fit_logistic(
    z: Tensor | SelectedRows,
    labels: Tensor,
    weights: Tensor,
    l2: Sequence[float],
    *,
    classes: int,
    tolerance: float = 1e-5,
    max_iterations: int = 500,
    memory_budget: int = DEFAULT_BUDGET,
    start: tuple[Tensor, Tensor] | None = None,
) -> LogisticFit:
    """Minimise ``sum_i w_i CE_i + l2/2 ||W||^2`` for every head, problem and penalty.

    Features are standardised with the problem's weighted rows and the intercept is not penalised,
    so the optimum is that of scikit-learn's ``LogisticRegression(C=1 / l2)`` after a
    ``StandardScaler``; two classes have one logit. Every column (a problem under a penalty) is
    judged alone and ends where it would end without the others, to within the tolerance.

    z: (H, N, D) raw head outputs, or ``SelectedRows`` of them; half precision gives the fit of the
        same numbers in float32.
    labels: (P, N) integers below ``classes``.
    weights: (P, N), at least 0; 0 leaves a row out of training.
    l2: K penalties, at least 0; in descending order each starts from the one before where that
        saves time.
    tolerance: relative gap of the objective; smaller takes more passes over the rows.
    max_iterations: passes after which a column is given up; ``converged`` is then False and
        ``messages`` has a sentence about it.
    memory_budget: bytes that the logits may take, and the standardised rows of the heads solved
        together; less means more and smaller products.
    start: weights (H, P, C', D) and biases (H, P, C') on raw z that the search of each penalty
        starts from, such as those of a near penalty; None: constant probes.

    Raises:
        UserError: fewer than two classes, no penalty or a negative one.
        ValueError: shapes that do not fit each other, labels that are no classes, negative
            weights, or a problem without training rows.

    >>> import torch
    >>> z = torch.randn(3, 100, 8, generator=torch.Generator().manual_seed(0))
    >>> labels = (z[0, :, 0] > 0).long()[None]
    >>> fit = fit_logistic(z, labels, torch.ones(1, 100), [10.0, 1.0], classes=2)
    >>> fit.weight.shape, bool(fit.converged.all())
    (torch.Size([3, 1, 2, 1, 8]), True)
    """
    _check(z, labels, weights, l2, classes)
    H, _, D = z.shape
    P, K, C = labels.shape[0], len(l2), (1 if classes == 2 else classes)
    labels, weights = labels.to(z.device), weights.to(z.device)
    fit = LogisticFit(
        weight=torch.zeros(H, P, K, C, D, device=z.device),
        bias=torch.zeros(H, P, K, C, device=z.device),
        gap=torch.full((H, P, K), float("inf"), dtype=torch.float64, device=z.device),
        iterations=torch.zeros(H, P, K, dtype=torch.int64, device=z.device),
        converged=torch.zeros(H, P, K, dtype=torch.bool, device=z.device),
        messages=(),
    )
    with full_precision(), borrowed() as space, torch.inference_mode():
        for rows, problems in _groups(weights):
            own_labels, own_weights = labels[problems][:, rows], weights[problems][:, rows]
            N = own_labels.shape[1]
            size, limit = _heads_together(z, N, len(problems) * K, C, memory_budget)
            for first in range(0, H, size):
                chunk = Problems(
                    z[first : first + size], rows, own_labels, own_weights, tuple(l2), classes
                )
                own_start = _start_of(start, slice(first, first + size), problems, K)
                out = solve_problems(chunk, tolerance, max_iterations, limit, space, own_start)
                at = (slice(first, first + size), problems)
                fit.weight[at], fit.bias[at] = out.weight.float(), out.bias.float()
                fit.iterations[at] = out.iterations
                optimum = (out.value - out.decrement).clamp_min(1e-300)
                fit.gap[at] = CAUTION * out.decrement / optimum
                fit.converged[at] = fit.gap[at] <= tolerance
    messages = tuple(_messages(fit, labels, weights, classes, max_iterations))
    return replace(fit, messages=messages)


def _messages(
    fit: LogisticFit, labels: Tensor, weights: Tensor, classes: int, cap: int
) -> Iterator[str]:
    """One sentence for all columns about each thing that went otherwise than asked."""
    count = fit.gap.numel()
    unbounded = int(fit.gap.isinf().sum())
    if unbounded:
        yield (
            f"{unbounded} of {count} fits have no optimum: without a penalty the classes are "
            "separable, so the weights grow for ever; use l2 > 0"
        )
    missed = ~fit.converged & ~fit.gap.isinf()
    if bool(missed.any()):
        yield (
            f"{int(missed.sum())} of {count} fits ended above the tolerance (largest relative gap "
            f"{float(fit.gap[missed].max()):.1e}); max_iterations={cap}"
        )
    for p in range(len(labels)):
        seen = torch.bincount(labels[p][weights[p] > 0], minlength=classes)
        if bool((seen == 0).any()):
            missing = (seen == 0).nonzero()[:, 0].tolist()
            yield (
                f"problem {p} has no training row of classes {missing}: they are held at a "
                "probability of almost 0"
            )


def _check(
    z: Tensor | SelectedRows, labels: Tensor, weights: Tensor, l2: Sequence[float], classes: int
) -> None:
    if z.dim() != 3:
        raise ValueError(f"z has shape {tuple(z.shape)}, not (heads, rows, d_head)")
    expected = (labels.shape[0], z.shape[1])
    if tuple(labels.shape) != expected or tuple(weights.shape) != expected:
        raise ValueError(
            f"labels {tuple(labels.shape)} and weights {tuple(weights.shape)} do not fit the "
            f"{z.shape[1]} rows of z"
        )
    if classes < 2:
        raise UserError(f"a probe with {classes} class", allowed="two classes or more")
    if not l2 or min(l2) < 0:
        raise UserError(f"l2={list(l2)}", allowed="penalties of at least 0", fix="probe.l2=[1.0]")
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(f"labels outside 0..{classes - 1}")
    if weights.numel() and not float(weights.min()) >= 0:
        raise ValueError("row weights must be at least 0")
    empty = (weights.sum(-1) == 0).nonzero()
    if len(empty):
        raise ValueError(f"problem {int(empty[0])} has no training rows")


def _groups(weights: Tensor) -> list[tuple[slice | Tensor, Tensor]]:
    """Groups of problems that share most of their rows, each with these rows.

    Folds form one group although the rows that each holds out are computed in vain; a codelength
    block of a thousandth of the rows gets a group of its own.
    """
    used = weights > 0  # (P, N)
    total = used.any(0)
    size = used.sum(-1)
    wide = size >= 0.6 * total.sum()
    groups = []
    if bool(wide.any()):
        groups.append((used[wide].any(0), wide.nonzero()[:, 0]))
    rest = (~wide).nonzero()[:, 0]
    while len(rest):
        rest = rest[torch.argsort(size[rest], descending=True, stable=True)]
        first = used[rest[0]]
        inside = ~(used[rest] & ~first).any(-1) & (size[rest] >= 0.6 * size[rest[0]])
        groups.append((first, rest[inside]))
        rest = rest[~inside]
    every = slice(None)
    return [(every if bool(u.all()) else u.nonzero()[:, 0], p) for u, p in groups]


def _start_of(
    start: tuple[Tensor, Tensor] | None, heads: slice, problems: Tensor, penalties: int
) -> tuple[Tensor, Tensor] | None:
    """Weights (h, p, K, C', D) and biases (h, p, K, C') of some heads and problems."""
    if start is None:
        return None
    weight, bias = (part[heads][:, problems.to(part.device)].double() for part in start)
    return (
        weight[:, :, None].expand(-1, -1, penalties, -1, -1),
        bias[:, :, None].expand(-1, -1, penalties, -1),
    )


def _heads_together(
    z: Tensor | SelectedRows, rows: int, columns: int, classes: int, budget: int
) -> tuple[int, int]:
    """Heads solved together, and bytes that one buffer of their logits may take.

    Many heads share the cost of small operations and, on a GPU, one product. On a CPU their logits
    should fit its cache, but a head needs enough columns at once to be worth reading its rows.
    """
    H, _, D = z.shape
    limit = budget // 4  # buffers of logits
    if on_gpu(z):
        return min(H, max(1, budget // (4 * rows * (D + 4 * min(columns * classes, 64))))), limit
    limit = min(limit, tuning.LOGITS_BYTES)
    column = 4 * rows * classes
    worth = max(1, min(columns, D // classes))
    size = min(limit // (column * worth), min(tuning.HEADS_BYTES, budget) // (4 * rows * D), H)
    return max(1, size), limit
