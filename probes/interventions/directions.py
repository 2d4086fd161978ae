"""Directions in a head's output along which it is pushed, and what they are compared with.

The direction of a class and the spread along it are those of inference-time intervention (Li et
al. 2023, arXiv 2306.03341), but for the rows: they are taken from training rows alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from probes.models.sites import Site

RowsOf = Callable[[Site, int], Tensor]
"""Site and head to the head's output on training rows, (n, D)."""


@dataclass(frozen=True)
class Push:
    """What is added to the output of one head, for a strength of 1."""

    site: Site
    head: int
    vector: Tensor
    """(D,) float32: a unit direction times the spread of the output along it."""

    @property
    def norm(self) -> float:
        """Size of the edit for a strength of 1."""
        return float(self.vector.double().norm())

    def times(self, strength: float) -> Push:
        """The push of that strength, in standard deviations along its direction."""
        return replace(self, vector=self.vector * strength)


def class_difference(z: Tensor, is_class: Tensor) -> Tensor:
    """The unit vector from the mean of all other rows to the mean of the rows of a class: (D,).

    z: (n, D) outputs. is_class: (n,) bool, with rows of both kinds. It is 0 where the means agree.
    """
    x = z.double()
    return unit(x[is_class].mean(dim=0) - x[~is_class].mean(dim=0))


def class_weight(weight: Tensor, towards: int) -> Tensor:
    """The unit vector along which a linear probe's score of a class rises against the others: (D,).

    weight: (K, D) for raw outputs; one row, the log-odds of the second class, of two classes, else
    a row a class.
    """
    w = weight.double()
    if len(w) == 1:
        return unit(w[0] if towards == 1 else -w[0])
    others = torch.cat([w[:towards], w[towards + 1 :]])
    return unit(w[towards] - others.mean(dim=0))


def unit(vector: Tensor) -> Tensor:
    """The vector with length 1; 0 stays 0."""
    length = vector.norm()
    return vector / length if length > 0 else torch.zeros_like(vector)


def push_along(site: Site, head: int, direction: Tensor, z: Tensor) -> Push:
    """A direction (D,) times the standard deviation of training rows z (n, D) along it."""
    along = z.double() @ direction.double()
    return Push(site, head, (direction.double() * along.std(correction=0)).float())


def random_directions(pushes: Sequence[Push], seed: int) -> list[Push]:
    """The same heads pushed as far, in directions drawn evenly from all."""
    random = torch.Generator().manual_seed(seed)
    return [
        _as_far(push, torch.randn(len(push.vector), generator=random, dtype=torch.float64))
        for push in pushes
    ]


def covariance_directions(pushes: Sequence[Push], rows: RowsOf, seed: int) -> list[Push]:
    """The same heads pushed as far, in directions that their outputs vary in.

    Drawn from a normal distribution with the covariance of training rows: outputs are far from
    round, so that an even direction hardly resembles anything that a head ever writes.
    """
    random = torch.Generator().manual_seed(seed)
    pushed = []
    for push in pushes:
        z = rows(push.site, push.head).double()
        weights = torch.randn(len(z), generator=random, dtype=torch.float64)
        pushed.append(_as_far(push, weights @ (z - z.mean(dim=0))))
    return pushed


def other_heads(
    pushes: Sequence[Push], along: Callable[[Site, int], Push], seed: int
) -> tuple[list[Push], int]:
    """As many random heads of the same layers, each along its own direction and as far as the head
    whose place it takes; and how many had to be among the pushed ones themselves.

    along: the push of a head along its own direction of the class.
    """
    random = np.random.default_rng(seed)
    pushed: list[Push] = []
    again = 0
    for site in dict.fromkeys(push.site for push in pushes):
        mine = [push for push in pushes if push.site == site]
        chosen = [push.head for push in mine]
        free = [head for head in range(site.units) if head not in chosen]
        drawn = random.permutation(free).tolist()[: len(mine)]
        missing = len(mine) - len(drawn)
        drawn += random.permutation(chosen).tolist()[:missing]
        again += missing
        pushed += [
            _as_far(push, along(site, int(head)).vector.double(), head=int(head))
            for push, head in zip(mine, drawn, strict=True)
        ]
    return pushed, again


def _as_far(push: Push, direction: Tensor, *, head: int | None = None) -> Push:
    vector = (unit(direction) * push.norm).float()
    return Push(push.site, push.head if head is None else head, vector)
