"""What each column has gained so far, to judge what its metric says is left to gain."""

from __future__ import annotations

import torch
from torch import Tensor

REMEMBERED = 10
"""Iterations whose decrements are compared with what has been gained since."""


class Gains:
    """The fall of the objective of each column, and its last decrements.

    A metric that is too stiff somewhere understates the decrement, its estimate of what is left to
    gain. How much shows later: what has been gained since an iteration is part of what was left.
    """

    def __init__(self, like: Tensor) -> None:
        """like: (H, T)."""
        self.fallen = torch.zeros_like(like, dtype=torch.float64)
        self.before = like.new_full((REMEMBERED, *like.shape), float("inf"), dtype=torch.float64)
        self.since = torch.zeros_like(self.before)
        self.count = 0

    def judged(self, decrement: Tensor) -> Tensor:
        """The decrement (H, T), as much larger as earlier ones have proved to be."""
        gained = (self.fallen - self.since) / self.before  # (REMEMBERED, H, T)
        factor = torch.where(self.before > 0, gained, 1.0).amax(0).clamp_min(1)
        at = self.count % REMEMBERED
        self.before[at], self.since[at] = decrement, self.fallen
        self.count += 1
        return decrement * factor

    def fall(self, amount: Tensor) -> None:
        """A step has lowered the objective by (H, T)."""
        self.fallen = self.fallen + amount.clamp_min(0)

    def keep(self, heads: Tensor, index: Tensor) -> None:
        at = heads[:, None], index
        self.fallen = self.fallen[at]
        self.before, self.since = self.before[:, *at], self.since[:, *at]
