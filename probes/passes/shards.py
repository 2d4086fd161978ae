"""Parts of a corpus that independent processes run."""

from __future__ import annotations

from dataclasses import dataclass

from probes.core.errors import UserError


@dataclass(frozen=True)
class Shard:
    """One of ``count`` contiguous ranges of a batch plan; ``BatchPlan.range_of`` gives it.

    Raises:
        UserError: for an index that is not below the count.

    >>> Shard(0, 2), Shard(1, 2)
    (Shard(index=0, count=2), Shard(index=1, count=2))
    """

    index: int = 0
    """From 0."""
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise UserError(
                f"shard={self.index}/{self.count}",
                allowed="0/N to N-1/N, where N is the number of processes",
                fix=f"shard=0/{max(self.count, 1)}",
            )


WHOLE = Shard()
"""All of a corpus, in one process."""
