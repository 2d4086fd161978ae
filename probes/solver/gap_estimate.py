"""Corrects the estimated gap of each column by the decrease observed since earlier estimates."""

from __future__ import annotations

import torch
from torch import Tensor

REMEMBERED = 10
"""Iterations whose decrements are compared with the decrease of the objective since then."""


class GapEstimate:
    """The decrease of each column's objective, and its last decrements.

    The decrement estimates objective - optimum; a metric that is too stiff in some direction
    understates it. By how much shows later: an earlier decrement must have been at least the
    decrease of the objective since then. The largest such ratio corrects the present decrement.
    """

    def __init__(self, like: Tensor) -> None:
        """like: (H, T)."""
        self.fallen = torch.zeros_like(like, dtype=torch.float64)
        self.before = like.new_full((REMEMBERED, *like.shape), float("inf"), dtype=torch.float64)
        self.since = torch.zeros_like(self.before)
        self.count = 0

    def judged(self, decrement: Tensor) -> Tensor:
        """The decrement (H, T), enlarged as much as an earlier one has proved too small."""
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
        """Continue with columns index (H', T') of the present heads (H')."""
        at = heads[:, None], index
        self.fallen = self.fallen[at]
        self.before, self.since = self.before[:, *at], self.since[:, *at]
