"""Parts of the effects of a run: the heads of one layer under one edit, in one batch of texts.

Each is kept as soon as it is there, so that a kill costs one of them, and each depends on no other,
so that several processes may share them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from probes.models.sites import Site
from probes.passes.batches import BatchSpan


@dataclass(frozen=True)
class EffectPart:
    """Names one part of the effects of a run."""

    method: str
    """As in ``methods``."""
    feature: str
    fold: int = 0
    edit: str = ""
    """Which of the edits of the method: ``mean``, ``matched``, ``resample 0``, ..."""
    stream: str = ""
    layer: int = 0
    module: str = ""
    """Where in the model it is made."""
    units: tuple[int | None, ...] = ()
    """Heads that are edited alone, in this order; None: all of the layer together."""
    position: int = 0
    """Of the batch's first text in the order of the plan."""
    count: int = 0
    """Texts of the batch."""

    def at(
        self, edit: str, site: Site, units: tuple[int | None, ...], batch: BatchSpan
    ) -> EffectPart:
        """The part of one edit and layer in a batch."""
        return replace(
            self,
            edit=edit,
            stream=site.stream,
            layer=site.layer,
            module=site.module,
            units=units,
            position=batch.position,
            count=batch.count,
        )


UNNAMED = EffectPart("", "")


@dataclass(frozen=True)
class PlannedEffect:
    """A part that is to be measured."""

    part: EffectPart
    cost: int
    """Relative to others of the run: padded tokens that run through layers."""


class EffectParts(Protocol):
    """Where the parts are kept."""

    def plan(self, planned: Sequence[PlannedEffect]) -> None:
        """All parts that are asked for next, in their order, as long as memory suffices for the
        batches."""

    def load(self, part: EffectPart) -> Mapping[str, Tensor] | None:
        """What was kept of it; None: nothing."""
        ...

    def save(self, part: EffectPart, values: Mapping[str, Tensor]) -> None:
        """Keep a part that has been measured."""

    def is_own(self, part: EffectPart) -> bool:
        """Whether this process measures it where it is not kept. The effects of parts that are
        neither are NaN."""
        ...


class NotKept:
    """Keeps nothing: all is measured, here."""

    def plan(self, planned: Sequence[PlannedEffect]) -> None:
        """Nothing."""

    def load(self, part: EffectPart) -> Mapping[str, Tensor] | None:
        """Nothing."""
        return None

    def save(self, part: EffectPart, values: Mapping[str, Tensor]) -> None:
        """Nothing."""

    def is_own(self, part: EffectPart) -> bool:
        """All are."""
        return True
