"""The arithmetic of many small MLPs at once: weights, gradients, AdamW.

Symbols: H heads, R replicas of each head, D inputs, M hidden units, C classes, B rows of a step.
Activations are kept with the rows last, ``(H, R, M, B)``: then the replicas of a head are one
matrix product over the head's rows, and all element-wise work runs along contiguous memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from probes.training.chunk_fit import BLOCK
from probes.training.torch_private import adam_step, rectify_gradient_


@dataclass
class Network:
    """Weights of H x R networks with one hidden layer of rectified units."""

    w1: Tensor
    """(H, R, M, D)"""
    b1: Tensor
    """(H, R, M, 1)"""
    w2: Tensor
    """(H, R, C, M)"""
    b2: Tensor
    """(H, R, C, 1)"""

    @classmethod
    def fresh(
        cls, seeds: Sequence[Sequence[int]], sizes: tuple[int, int, int], device: torch.device
    ) -> Network:
        """Initial weights, uniform in ``1 / sqrt(inputs)`` as torch.nn.Linear has them.

        Each network is drawn from its own seed, ``seeds[head][replica]``, on the CPU: it does not
        depend on the others of the bank or on the device. ``sizes``: D, M, C.
        """
        D, M, C = sizes
        H, R = len(seeds), len(seeds[0])
        shapes = ((M, D), (M, 1), (C, M), (C, 1))
        bounds = (1 / math.sqrt(D), 1 / math.sqrt(D), 1 / math.sqrt(M), 1 / math.sqrt(M))
        tensors = [torch.empty(H, R, *shape) for shape in shapes]
        for h in range(H):
            for r in range(R):
                generator = torch.Generator().manual_seed(seeds[h][r])
                for tensor, bound in zip(tensors, bounds, strict=True):
                    tensor[h, r].uniform_(-bound, bound, generator=generator)
        return cls(*(tensor.to(device) for tensor in tensors))

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Weights and biases of both layers."""
        return self.w1, self.b1, self.w2, self.b2

    def copy(self) -> Network:
        """The same numbers in tensors of their own."""
        return Network(*(tensor.clone() for tensor in self.tensors))

    def take(self, other: Network, heads: Tensor, replicas: Tensor, where: Tensor) -> None:
        """Overwrite network (heads[i], replicas[j]) by ``other[i, j]`` where ``where[i, j]``."""
        i, j = where.nonzero(as_tuple=True)
        for own, new in zip(self.tensors, other.tensors, strict=True):
            own[heads[i], replicas[j]] = new[i, j]

    def hidden(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """Rectified hidden layer (H, R, M, B) of rows x (H, B, D)."""
        H, R, M, D = self.w1.shape
        B = x.shape[1]
        out = torch.empty(H, R, M, B, device=x.device) if out is None else out
        torch.bmm(self.w1.view(H, R * M, D), x.mT, out=out.view(H, R * M, B))
        return out.add_(self.b1).relu_()

    def scores(self, hidden: Tensor, out: Tensor | None = None) -> Tensor:
        """Logits (H, R, C, B) of a hidden layer (H, R, M, B)."""
        H, R, C, M = self.w2.shape
        B = hidden.shape[3]
        out = torch.empty(H, R, C, B, device=hidden.device) if out is None else out
        torch.bmm(self.w2.view(H * R, C, M), hidden.view(H * R, M, B), out=out.view(H * R, C, B))
        return out.add_(self.b2)

    def evaluate(self, x: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted mean log-loss and accuracy, (H, R) each, in blocks of rows.

        x: (H, m, D); y: (R, m) classes; weights: (R, m), each replica's sum to 1.
        """
        H, R, M, _ = self.w1.shape
        loss = torch.zeros(H, R, dtype=torch.float64, device=x.device)
        accuracy = torch.zeros_like(loss)
        step = max(1, BLOCK // (H * R * max(M, self.w2.shape[2])))
        for start in range(0, x.shape[1], step):
            at = slice(start, start + step)
            scores = self.scores(self.hidden(x[:, at]))  # (H, R, C, b)
            target = y[:, at].view(1, R, 1, -1)
            own = scores.gather(2, target.expand(H, -1, -1, -1)).squeeze(2)  # (H, R, b)
            right = (scores.argmax(dim=2) == y[:, at]).double()
            loss += ((scores.logsumexp(dim=2) - own) * weights[:, at]).sum(-1, dtype=torch.float64)
            accuracy += (right * weights[:, at]).sum(dim=-1)
        return loss, accuracy

    def folded(self, replica: int, mean: Tensor, scale: Tensor) -> dict[str, Tensor]:
        """One replica of each head as in ``bank.SHAPES``, for rows that are not standardised.

        mean, scale: (H, D)
        """
        w1 = (self.w1[:, replica] / scale[:, None]).mT.contiguous()  # (H, D, M)
        shift = torch.bmm(mean[:, None], w1)[:, 0]  # (H, M)
        return {
            "w1": w1,
            "b1": self.b1[:, replica, :, 0] - shift,
            "w2": self.w2[:, replica].mT.contiguous(),  # (H, M, C)
            "b2": self.b2[:, replica, :, 0].clone(),
        }


class Optimiser:
    """AdamW on a network. Its gradients are written out: a graph would allocate at every step.

    Weights, gradients and both moments are stored in one vector each, of which their tensors are
    views: many small tensors would cost more in calls than in arithmetic.
    """

    def __init__(self, network: Network, learning_rate: float, weight_decay: float) -> None:
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.steps = torch.zeros((), device=network.w1.device)
        zeros = [Network(*map(torch.zeros_like, network.tensors)) for _ in range(2)]
        self._lay_out(network, *zeros)

    def step(self, x: Tensor, y: Tensor) -> None:
        """One step on the mean log-loss of rows x (H, B, D) with classes y (R, B)."""
        self.gradients(x, y)
        # The decay of AdamW, of the weights alone, which come first.
        self.values[: self.weights].mul_(1 - self.learning_rate * self.weight_decay)
        adam_step(
            self.values, self.slopes, self.means, self.squares, self.steps, self.learning_rate
        )

    def gradients(self, x: Tensor, y: Tensor) -> None:
        """Write the gradients of the mean log-loss to ``gradient``."""
        net, found, (H, B, D) = self.network, self.gradient, x.shape
        (R, M), C = net.w1.shape[1:3], net.w2.shape[2]
        hidden, scores, back = self._buffers(B)
        net.hidden(x, hidden)  # (H, R, M, B)
        net.scores(hidden, scores)  # (H, R, C, B)
        torch.softmax(scores, dim=2, out=scores)
        ones = self.minus_one.expand(H, R, 1, B)
        scores.scatter_add_(2, y.view(1, R, 1, B).expand(H, -1, -1, -1), ones)
        error, flat = scores.view(H * R, C, B), hidden.view(H * R, M, B)
        w2 = net.w2.view(H * R, C, M)
        _mean_product(error, flat.mT, B, out=found.w2.view(H * R, C, M))
        torch.sum(scores, dim=3, keepdim=True, out=found.b2).mul_(1 / B)
        _mean_product(w2.mT, error, B, out=back.view(H * R, M, B))
        rectify_gradient_(back, hidden)
        torch.bmm(back.view(H, R * M, B), x, out=found.w1.view(H, R * M, D))
        torch.sum(back, dim=3, keepdim=True, out=found.b1)

    def keep(self, heads: Tensor, replicas: Tensor) -> None:
        """Go on with these heads and replicas only (index vectors)."""
        at = self.values.device
        chosen = heads.to(at)[:, None], replicas.to(at)[None]
        old = [self.network, *(_views(v, self.network) for v in (self.means, self.squares))]
        self._lay_out(*(Network(*(t[chosen] for t in part.tensors)) for part in old))

    def _lay_out(self, network: Network, means: Network, squares: Network) -> None:
        self.values, self.means, self.squares = map(_vector, (network, means, squares))
        self.slopes = torch.zeros_like(self.values)
        self.network, self.gradient = (_views(v, network) for v in (self.values, self.slopes))
        self.weights = network.w1.numel() + network.w2.numel()
        self.minus_one = torch.full((1, 1, 1, 1), -1.0, device=network.w1.device)
        self.buffers: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def _buffers(self, B: int) -> tuple[Tensor, Tensor, Tensor]:
        """Hidden layer, scores and the hidden layer's gradient, reused by all steps of B rows."""
        if B not in self.buffers:
            (H, R, M, _), C = self.network.w1.shape, self.network.w2.shape[2]
            like = self.network.w1
            shapes = ((H, R, M, B), (H, R, C, B), (H, R, M, B))
            a, b, c = (torch.empty(shape, device=like.device) for shape in shapes)
            self.buffers[B] = a, b, c
        return self.buffers[B]


def _mean_product(a: Tensor, b: Tensor, rows: int, out: Tensor) -> None:
    """Batched a @ b / rows, without a pass of its own for the division."""
    torch.baddbmm(out, a, b, beta=0, alpha=1 / rows, out=out)


def _vector(network: Network) -> Tensor:
    """All numbers of a network, the weights first."""
    return torch.cat([t.reshape(-1) for t in (network.w1, network.w2, network.b1, network.b2)])


def _views(vector: Tensor, like: Network) -> Network:
    """The network of that shape whose ``_vector`` this is."""
    shaped = (like.w1, like.w2, like.b1, like.b2)
    parts = vector.split([t.numel() for t in shaped])
    w1, w2, b1, b2 = (part.view(t.shape) for part, t in zip(parts, shaped, strict=True))
    return Network(w1, b1, w2, b2)
