"""What is concluded about a whole map: its best unit, and what its tests refute.

A map is all units of one feature, site and probe. Both records are stored in ``run.json``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class BestUnit:
    """The best head (or layer) of a map, as it looks and as it is.

    Without draws of the bootstrap nothing frees a cross-validated value from the selection: the
    record then names the map only, and all else is ``None``.
    """

    feature: str
    site: str
    probe: str
    stream: str | None = None
    layer: int | None = None
    head: int | None = None
    """0 for whole-layer sites."""
    value: float | None = None
    """Estimate on test, freed from the selection ..."""
    ci_low: float | None = None
    ci_high: float | None = None
    """... with its interval; ``None`` without draws."""
    naive: float | None = None
    """The highest of all test values, too high on average ..."""
    naive_layer: int | None = None
    naive_head: int | None = None
    """... and the unit that reaches it."""
    method: str = ""
    """How the value was freed from the selection, in words."""

    def to_json(self) -> dict[str, object]:
        """As in ``run.json``: without an estimate, only the names of the map."""
        if self.stream is None:
            return {"feature": self.feature, "site": self.site, "probe": self.probe}
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class MapTestSummary:
    """What the p-values of a map refute, and how many units are significant."""

    feature: str
    site: str
    probe: str
    null: str = ""
    """What is refuted, in words."""
    smallest_p: float | None = None
    """The smallest p-value that the test can give."""
    units: int = 0
    """Units that were tested."""
    groups: int = 0
    """Independent groups that the test rests on."""
    level: float | None = None
    """At which units are called significant."""
    significant_familywise: int = 0
    """Units whose family-wise p-value is at most the level."""
    significant_q: int = 0
    """Units whose q-value (false discovery rate) is at most the level."""

    def to_json(self) -> dict[str, object]:
        """As in ``run.json``."""
        return dataclasses.asdict(self)
