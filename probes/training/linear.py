"""Linear probes of a chunk: the exact solver over the L2 path, and the choice of L2 per head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from probes.config import LinearConfig
from probes.core.errors import UserError
from probes.solver import LogisticFit, class_logits, fit_logistic
from probes.training.chunk_fit import BLOCK, Fitted
from probes.training.problems import Problem, stack_labels, stack_masks


def fit_linear(
    z: Tensor, problems: Sequence[Problem], config: LinearConfig, *, classes: int
) -> list[Fitted]:
    """Fit every problem on every head of ``z`` (H, n, D) float32; results in the problems' order.

    Each head of each problem with ``select`` rows takes the penalty that is most accurate on them;
    penalties of equal accuracy are told apart by the smaller log-loss. Problems without such rows
    (permutations, codelength blocks) are fitted at the penalty that the first problem chose for
    the same head, and at no other: that is what makes many refits cheap.
    """
    H = z.shape[0]
    l2 = sorted({float(value) for value in config.l2}, reverse=True)  # warm starts run downwards
    done: dict[int, Fitted] = {}
    path = [i for i, problem in enumerate(problems) if problem.select.any()]
    for block in _blocks(path, H * len(l2) * classes * z.shape[2]):
        chosen = [problems[i] for i in block]
        fit = _solve(z, chosen, l2, config, classes)
        for p, i in enumerate(block):
            done[i] = _choose(z, problems[i], fit, p, l2)
    rest = [i for i in range(len(problems)) if i not in done]
    if not rest:
        return [done[i] for i in range(len(problems))]
    if 0 in done:
        reference = done[0].choice.tolist()
    elif len(l2) == 1:
        reference = [l2[0]] * H
    else:
        raise UserError(
            f"probe.l2={list(config.l2)}: problem '{problems[0].name}' has no rows to choose on",
            allowed="one penalty, or a split with validation rows",
            fix=f"probe.l2=[{l2[0]:g}]",
        )
    for block in _blocks(rest, H * classes * z.shape[2]):
        fits = _solve_at(z, [problems[i] for i in block], reference, config, classes)
        done.update(zip(block, fits, strict=True))
    return [done[i] for i in range(len(problems))]


def _blocks(indices: list[int], size: int) -> list[list[int]]:
    """Problems in blocks whose weights, of ``size`` numbers a problem, stay within ``BLOCK``."""
    step = max(1, BLOCK // max(size, 1))
    return [indices[start : start + step] for start in range(0, len(indices), step)]


def _solve(
    z: Tensor, problems: Sequence[Problem], l2: list[float], config: LinearConfig, classes: int
) -> LogisticFit:
    return fit_logistic(
        z,
        stack_labels(problems, z.device),
        stack_masks(problems, "train", z.device).float(),
        l2,
        classes=classes,
        tolerance=config.tolerance,
        max_iterations=config.max_iterations,
    )


def _solve_at(
    z: Tensor, problems: Sequence[Problem], reference: list[float], config: LinearConfig, C: int
) -> list[Fitted]:
    """Each head at its own penalty: a call of the solver for each penalty that occurs, or more
    where the rows of its heads are many, as they are copied side by side."""
    H, n, D = z.shape
    most = max(1, BLOCK // (n * D))
    fits: list[tuple[list[int], LogisticFit]] = []
    for value in sorted(set(reference), reverse=True):
        heads = [h for h in range(H) if reference[h] == value]
        step = H if len(heads) == H else most
        for start in range(0, len(heads), step):
            some = heads[start : start + step]
            part = z if len(some) == H else z[some]  # (h, n, D)
            fits.append((some, _solve(part, problems, [value], config, C)))
    order = torch.tensor([h for heads, _ in fits for h in heads]).argsort()

    def gather(name: str, p: int) -> Tensor:
        parts = [getattr(fit, name)[:, p, 0] for _, fit in fits]
        joined = torch.cat(parts)
        return joined[order.to(joined.device)]  # (H, ...)

    choice, nowhere = torch.tensor(reference), torch.full((H,), float("nan"))
    return [
        Fitted(
            problem,
            {"weight": gather("weight", p), "bias": gather("bias", p)},
            choice,
            nowhere,
            {name: gather(name, p) for name in ("gap", "iterations", "converged")},
        )
        for p, problem in enumerate(problems)
    ]


def _choose(z: Tensor, problem: Problem, fit: LogisticFit, p: int, l2: list[float]) -> Fitted:
    """The probes of problem ``p`` at the penalty that its ``select`` rows prefer."""
    H = z.shape[0]
    accuracy, loss = score_path(z, problem, fit.weight[:, p], fit.bias[:, p])  # (H, K)
    # Ties in accuracy are common on small validation sets: among the best, the smallest loss.
    loss = loss.masked_fill(accuracy < accuracy.max(dim=1, keepdim=True).values, float("inf"))
    best, heads = loss.argmin(dim=1), torch.arange(H, device=z.device)  # (H,)

    def pick(values: Tensor) -> Tensor:
        on = values.device
        return values[heads.to(on), p, best.to(on)].clone()  # (H, ...)

    return Fitted(
        problem,
        {"weight": pick(fit.weight), "bias": pick(fit.bias)},
        torch.tensor(l2)[best.cpu()],
        accuracy.max(dim=1).values.float().cpu(),
        {name: pick(getattr(fit, name)) for name in ("gap", "iterations", "converged")},
    )


def score_path(z: Tensor, problem: Problem, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Accuracy and log-loss on the ``select`` rows, (H, K) each in float64, in blocks of rows.

    weight: (H, K, C', D), bias: (H, K, C').
    """
    H, K, columns, D = weight.shape
    rows = torch.from_numpy(problem.select.nonzero()[0]).to(z.device)
    labels = torch.from_numpy(problem.labels).to(z.device)[rows]
    flat, offset = weight.reshape(H, K * columns, D).mT, bias.reshape(H, 1, K * columns)
    hits = torch.zeros(H, K, dtype=torch.float64, device=z.device)
    loss = torch.zeros_like(hits)
    step = max(1, BLOCK // (H * max(D, K * max(columns, 2))))
    for start in range(0, len(rows), step):
        x, y = z[:, rows[start : start + step]], labels[start : start + step]
        scores = torch.baddbmm(offset, x, flat).view(H, len(y), K, columns)
        scores = class_logits(scores)
        own = scores.gather(-1, y.view(1, -1, 1, 1).expand(H, -1, K, 1)).squeeze(-1)  # (H, n, K)
        hits += (scores.argmax(dim=-1) == y.view(1, -1, 1)).sum(dim=1)
        loss += (scores.logsumexp(dim=-1) - own).sum(dim=1, dtype=torch.float64)
    return hits / len(rows), loss / len(rows)
