"""Which parts of the effects one of several processes measures."""

from __future__ import annotations

from collections.abc import Sequence

from probes.core.errors import UserError
from probes.interventions.effect_parts import EffectPart, PlannedEffect
from probes.passes.shards import Shard


class EffectShare:
    """One process's share of all parts that are planned.

    What is planned together is cut into ranges of about equal cost, in the order in which one
    process measures it. Parts of one batch of texts are neighbours: they share its clean pass, and
    most ranges hold whole batches.
    """

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        self.own: dict[EffectPart, None] = {}
        """In their order."""
        self.plan: dict[EffectPart, None] = {}
        """Of all processes."""

    def add(self, planned: Sequence[PlannedEffect]) -> None:
        """Deal these parts out, the same in every process."""
        whole = sum(each.cost for each in planned)
        before = 0
        for each in planned:
            middle = 2 * before + each.cost  # twice the cost up to the middle of the part
            if middle * self.shard.count // (2 * whole) == self.shard.index:
                self.own[each.part] = None
            self.plan[each.part] = None
            before += each.cost

    def has(self, part: EffectPart) -> bool:
        """Whether this process measures a part.

        Raises:
            UserError: it is not planned, because the batch was made smaller.
        """
        if part not in self.plan:
            raise UserError(
                f"memory runs out on {part.method} ({part.edit}), and processes that share the "
                "effects cannot each make their batches smaller",
                fix="a smaller extraction.tokens_per_batch or memory_budget, the same for all "
                "of them",
            )
        return part in self.own
