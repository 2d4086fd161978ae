"""Linear probes of a chunk: the exact solver over the penalties, and what follows their choice."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from probes.config import LinearConfig
from probes.config.run import PENALTIES
from probes.core.errors import UserError
from probes.solver import LogisticFit, SelectedRows, fit_logistic
from probes.training.chunk_fit import BLOCK, Fitted
from probes.training.penalty_choice import DIAGNOSTICS, Choice, Refit
from probes.training.problems import Problem, stack_labels, stack_masks


def fit_linear(
    z: Tensor | SelectedRows,
    problems: Sequence[Problem],
    config: LinearConfig,
    *,
    classes: int,
    extend: bool = True,
) -> list[Fitted]:
    """Fit every problem on every head of ``z`` (H, n, D); results in the problems' order.

    z: float32, or as it is stored, float16 or bfloat16: the same numbers in half the memory;
    ``SelectedRows`` of what is stored take none.

    Each head of each problem with ``select`` rows takes the penalty that is most accurate on them;
    penalties of equal accuracy are told apart by the smaller log-loss. Where ``config.l2`` is None,
    heads that take the first or last of ``PENALTIES`` go on beyond it (``Choice.go_on``), unless
    ``extend`` is False. Problems without such rows
    (permutations, codelength blocks) are fitted at the penalty that the first problem chose for
    the same head, and at no other: that is what makes many refits cheap.
    """
    H, n, D = z.shape
    given = PENALTIES if config.l2 is None else config.l2
    l2 = sorted({float(value) for value in given}, reverse=True)  # warm starts run downwards
    done: dict[int, Fitted] = {}
    path = [i for i, problem in enumerate(problems) if problem.select.any()]
    for block in _blocks(path, max(n, H * len(l2) * classes * D)):
        chosen = [problems[i] for i in block]
        choice = Choice.of(z, chosen, _solve(z, chosen, l2, config, classes), l2)
        if config.l2 is None and extend:
            choice.go_on(z, chosen, _refit(chosen, config, classes))
        for p, i in enumerate(block):
            done[i] = choice.fitted(problems[i], p)
    rest = [i for i in range(len(problems)) if i not in done]
    if not rest:
        return [done[i] for i in range(len(problems))]
    if 0 in done:
        reference = done[0].choice.tolist()
    elif len(l2) == 1:
        reference = [l2[0]] * H
    else:
        raise UserError(
            f"probe.l2={list(given)}: problem '{problems[0].name}' has no rows to choose on",
            allowed="one penalty, or a split with validation rows",
            fix=f"probe.l2=[{l2[0]:g}]",
        )
    for block in _blocks(rest, max(n, H * classes * D)):
        fits = _solve_at(z, [problems[i] for i in block], reference, config, classes)
        done.update(zip(block, fits, strict=True))
    return [done[i] for i in range(len(problems))]


def _blocks(indices: list[int], size: int) -> list[list[int]]:
    """Problems in blocks whose probes or labels, ``size`` numbers each, stay within ``BLOCK``."""
    step = max(1, BLOCK // max(size, 1))
    return [indices[start : start + step] for start in range(0, len(indices), step)]


def _solve(
    z: Tensor | SelectedRows,
    problems: Sequence[Problem],
    l2: list[float],
    config: LinearConfig,
    classes: int,
    start: tuple[Tensor, Tensor] | None = None,
) -> LogisticFit:
    return fit_logistic(
        z,
        stack_labels(problems, z.device),
        stack_masks(problems, "train", z.device).float(),
        l2,
        classes=classes,
        tolerance=config.tolerance,
        max_iterations=config.max_iterations,
        start=start,
    )


def _refit(problems: Sequence[Problem], config: LinearConfig, classes: int) -> Refit:
    """Some of these problems at one more penalty."""
    return lambda z, some, penalty, start: _solve(
        z, [problems[p] for p in some], [penalty], config, classes, start
    )


def _solve_at(
    z: Tensor | SelectedRows,
    problems: Sequence[Problem],
    reference: list[float],
    config: LinearConfig,
    C: int,
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

    choice, nowhere = torch.tensor(reference, dtype=torch.float64), torch.full((H,), float("nan"))
    return [
        Fitted(
            problem,
            {"weight": gather("weight", p), "bias": gather("bias", p)},
            choice,
            nowhere,
            {name: gather(name, p) for name in DIAGNOSTICS},
        )
        for p, problem in enumerate(problems)
    ]
