"""Effects that a worker of a cluster measures, as files that are sent to the driver."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor

from probes.interventions.effect_parts import EffectPart, PlannedEffect
from probes.pipeline.effect_share import EffectShare
from probes.pipeline.effect_store import effect_bytes, effect_file


class SentEffects:
    """A share of the parts, without those that the driver has."""

    def __init__(
        self, share: EffectShare, about: Mapping[str, str], stored: Collection[str]
    ) -> None:
        """about: what stands beside each part; see ``effect_bytes``. stored: names of files."""
        self.share, self.about, self.stored = share, about, stored
        self.files: dict[str, bytes] = {}
        """By name."""

    def plan(self, planned: Sequence[PlannedEffect]) -> None:
        """Deal out what is measured next."""
        self.share.add(planned)

    def is_own(self, part: EffectPart) -> bool:
        """Whether it is of this share, and the driver does not have it."""
        return self.share.has(part) and effect_file(part) not in self.stored

    def load(self, part: EffectPart) -> Mapping[str, Tensor] | None:
        """Nothing: each part is measured once."""
        return None

    def save(self, part: EffectPart, values: Mapping[str, Tensor]) -> None:
        """Keep one part until it is sent."""
        self.files[effect_file(part)] = effect_bytes(part, values, self.about)
