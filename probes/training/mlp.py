"""MLP probes of a chunk: heads and replicas trained by AdamW in shared batched products.

Nothing couples two probes: AdamW's state is per parameter, gradients are not clipped by a norm,
the rows of a step are the same for all, and every head stops for itself. So a probe of a bank is
the probe that one would get by training it alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from probes.config import MLPConfig
from probes.training.chunk_fit import BLOCK, Fitted
from probes.training.mlp_network import Network, Optimiser
from probes.training.problems import Problem, stack_labels, stack_masks

LEAST_STEPS = 16
"""Steps of an epoch, at least: on small data an epoch of one step would hardly train."""


@torch.no_grad()
def fit_mlp(
    z: Tensor,
    problems: Sequence[Problem],
    config: MLPConfig,
    *,
    classes: int,
    names: Sequence[str],
) -> list[Fitted]:
    """Train every problem on every head of ``z`` (H, n, D) float32; in the problems' order.

    ``names`` (H) identify the heads: initial weights depend on the name and the problem's seed,
    not on a head's place in the bank. A problem without ``select`` rows is trained for the number
    of epochs that the first problem chose for the same head, or for all epochs.

    Problems that share their training rows ride in one product as replicas; the others follow one
    another, since they differ in the scaler and in the rows of each step.
    """
    H = z.shape[0]
    done: dict[int, Fitted] = {}
    everything = torch.full((H,), config.epochs)
    for choosing in (True, False):  # those without rows to choose on wait for the first problem
        groups: dict[bytes, list[int]] = {}
        for i, problem in enumerate(problems):
            if problem.select.any() == choosing:
                groups.setdefault(problem.train.tobytes(), []).append(i)
        # Where nothing was better than the start, one epoch is the least that trains at all.
        limit = done[0].choice.long().clamp(min=1) if not choosing and 0 in done else everything
        for indices in groups.values():
            step = max(1, BLOCK // (config.batch_size * config.hidden * H))
            for start in range(0, len(indices), step):
                block = indices[start : start + step]
                members = [problems[i] for i in block]
                rows = _standardise(z, members)
                fitted = _train(rows, members, limit, config, classes, names)
                done.update(zip(block, fitted, strict=True))
    return [done[i] for i in range(len(problems))]


@dataclass
class _StandardisedRows:
    """Standardised activations of a group of problems with the same training rows."""

    x: Tensor
    """(n, H, D) training rows, those of all heads side by side: a step takes a few at random."""
    v: Tensor
    """(H, m, D) rows on which any of the problems chooses."""
    mean: Tensor
    """(H, D)"""
    scale: Tensor
    """(H, D)"""
    train: Tensor
    """(n,) their places among the task's rows."""
    select: Tensor
    """(m,)"""


def _standardise(z: Tensor, problems: Sequence[Problem]) -> _StandardisedRows:
    select = stack_masks(problems, "select", z.device).any(dim=0).nonzero()[:, 0]
    train = stack_masks(problems[:1], "train", z.device)[0].nonzero()[:, 0]
    x = z.new_empty(len(train), z.shape[0], z.shape[2])
    for h, head in enumerate(z):
        x[:, h] = head.index_select(0, train)
    mean = x.mean(dim=0)  # (H, D)
    x -= mean
    # Centred first: float32 loses the variance of heads with a large mean.
    rest = x.mean(dim=0)
    x -= rest
    scale = _mean_square(x).sqrt_()  # (H, D)
    mean = mean + rest
    scale[scale <= 1e-6 * mean.abs()] = 1.0  # a constant feature: what is left is rounding
    scale[scale == 0] = 1.0
    x /= scale
    v = z.index_select(1, select).sub_(mean[:, None]).div_(scale[:, None])  # (H, m, D)
    return _StandardisedRows(x, v, mean, scale, train, select)


def _mean_square(x: Tensor) -> Tensor:
    """Mean of the squares of x (n, H, D) over its rows, block by block: no copy of all rows."""
    blocks = x.split(max(1, BLOCK // x[0].numel()))
    return torch.stack([block.square().sum(dim=0) for block in blocks]).sum(dim=0).div_(len(x))


def _train(
    rows: _StandardisedRows,
    problems: Sequence[Problem],
    limit: Tensor,
    config: MLPConfig,
    classes: int,
    names: Sequence[str],
) -> list[Fitted]:
    """Train R problems on H heads; a head leaves the products when all its replicas have stopped.

    ``limit``: (H,) epochs that problems without rows to choose on are trained for. Uses up
    ``rows.x`` and ``rows.v``.
    """
    n, H, D = rows.x.shape
    R, device = len(problems), rows.x.device
    labels = stack_labels(problems, device)
    y, select_y = labels[:, rows.train], labels[:, rows.select]  # (R, n), (R, m)
    select_w = stack_masks(problems, "select", device)[:, rows.select].double()  # (R, m)
    select_w /= select_w.sum(dim=1, keepdim=True)
    choosing = len(rows.select) > 0
    seeds = [[_seed(f"{problem.seed}/{name}") for problem in problems] for name in names]
    batch_size = min(config.batch_size, max(n // LEAST_STEPS, 16))
    network = Network.fresh(seeds, (D, config.hidden, classes), device)
    optimiser = Optimiser(network, config.learning_rate, config.weight_decay)
    best, state = network.copy(), _Progress.start(H, R)
    heads, replicas = torch.arange(H), torch.arange(R)  # those still in the products
    x, v = rows.x, rows.v
    batch = x.new_empty(batch_size * H * D)
    for epoch in range(1, config.epochs + 1):
        order = torch.randperm(n, generator=_generator(f"rows/{epoch}")).to(device)
        shuffled = y.index_select(1, order)
        for start in range(0, n, batch_size):
            at = order[start : start + batch_size]
            some = batch[: len(at) * len(heads) * D].view(len(at), len(heads), D)
            torch.index_select(x, 0, at, out=some)  # whole rows: other orders take twice as long
            optimiser.step(some.transpose(0, 1), shuffled[:, start : start + batch_size])
        here = heads[:, None], replicas[None]
        alive = state.alive[here]
        if choosing:
            loss, accuracy = optimiser.network.evaluate(v, select_y, select_w)
            better = alive & (loss.cpu() < state.loss[here])
            state.loss[here] = torch.where(better, loss.cpu(), state.loss[here])
            state.accuracy[here] = torch.where(better, accuracy.cpu(), state.accuracy[here])
        else:
            better = alive & (limit[heads] == epoch)[:, None]
        best.take(optimiser.network, heads, replicas, better)
        state.best[here] = torch.where(better, epoch, state.best[here])
        state.epochs[here] = torch.where(alive, epoch, state.epochs[here])
        over = epoch - state.best[here] >= config.patience if choosing else better
        state.alive[here] = alive & ~over
        left = state.alive[here]
        if not left.any():
            break
        stay, stay_r = left.any(dim=1).nonzero()[:, 0], left.any(dim=0).nonzero()[:, 0]
        if len(stay) < len(heads) or len(stay_r) < len(replicas):
            optimiser.keep(stay, stay_r)
            x, v = _keep_heads(x, stay, 1), _keep_heads(v, stay, 0)
            y, select_y, select_w = (t[stay_r.to(device)] for t in (y, select_y, select_w))
            heads, replicas = heads[stay], replicas[stay_r]
    return [
        Fitted(
            problem,
            best.folded(r, rows.mean, rows.scale),
            state.best[:, r].float(),
            state.accuracy[:, r].float(),
            {"epochs": state.epochs[:, r]},
        )
        for r, problem in enumerate(problems)
    ]


@dataclass
class _Progress:
    """Where each probe of a bank stands, (H, R) each, on the CPU."""

    loss: Tensor
    accuracy: Tensor
    best: Tensor
    """Epoch whose weights are kept."""
    epochs: Tensor
    """Epochs that were run."""
    alive: Tensor

    @classmethod
    def start(cls, H: int, R: int) -> _Progress:
        numbers = torch.full((H, R), math.inf, dtype=torch.float64)
        nothing = torch.zeros(H, R, dtype=torch.long)
        accuracy = torch.full((H, R), math.nan, dtype=torch.float64)
        alive = torch.ones(H, R, dtype=torch.bool)
        return cls(numbers, accuracy, nothing, nothing.clone(), alive)


def _keep_heads(rows: Tensor, heads: Tensor, axis: int) -> Tensor:
    """The rows of these heads (ascending), moved up in place: a copy would double the memory."""
    for new, old in enumerate(heads.tolist()):
        if new != old:
            rows.select(axis, new).copy_(rows.select(axis, old))
    return rows.narrow(axis, 0, len(heads))


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def _generator(text: str) -> torch.Generator:
    # Always on the CPU, so that a GPU trains from the same start over the same rows.
    return torch.Generator().manual_seed(_seed(text))
