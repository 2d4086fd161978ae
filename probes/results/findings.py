"""What is concluded about a whole map: its best unit, and what its tests refute.

A map is all units of one feature, site and probe, or variant of another method. Both records are
stored in ``run.json``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """How the numbers of a map were obtained, as in the columns of these names."""

    method: str = "probe"
    metric: str = "accuracy"
    effect: str = ""
    positions: str = ""


PROBED = Measured()
"""Of maps of probes, whose records do not name it: they have the keys that they always had."""


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
    """How the value was freed from the selection, in words; named before maps had methods, which
    are in ``measured``."""
    measured: Measured = PROBED

    def to_json(self) -> dict[str, object]:
        """As in ``run.json``: without an estimate, only the names of the map."""
        content = _without_defaults(self, "measured")
        if self.stream is None:
            kept = ("feature", "site", "probe", "measured")
            return {name: content[name] for name in kept if name in content}
        return content


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
    measured: Measured = PROBED
    control_null: str = ""
    """What the test against a matched control refutes, in words; empty without that test, and for
    maps of probes, whose tests are against the baseline."""
    control_familywise: int = 0
    """Units whose family-wise p-value against the matched control is at most the level."""
    control_q: int = 0
    """Units whose q-value against it is at most the level."""

    def to_json(self) -> dict[str, object]:
        """As in ``run.json``."""
        return _without_defaults(
            self, "measured", "control_null", "control_familywise", "control_q"
        )


def _without_defaults(record: BestUnit | MapTestSummary, *names: str) -> dict[str, object]:
    """The record as JSON, without those of these keys that say what was always so."""
    defaults = {field.name: field.default for field in dataclasses.fields(record)}
    unsaid = {name for name in names if getattr(record, name) == defaults[name]}
    content = dataclasses.asdict(record)
    return {name: value for name, value in content.items() if name not in unsaid}


@dataclass(frozen=True)
class EstimateQuality:
    """How well a cheap estimate of effects orders heads, where the exact effects are there too."""

    feature: str
    estimate: str
    """Its map in words, such as ``attribution of mean ablation``."""
    exact: str
    """The map that it estimates, in words."""
    key: str
    """Both maps for loggers, such as ``attribution/mean``."""
    metric: str
    value: float | None
    """Spearman's correlation over all heads of the model ..."""
    low: float | None
    high: float | None
    """... with its interval over groups of texts; ``None`` where it is undefined."""
    heads: int
    """That have an exact effect."""
    sampled: bool = False
    """Whether these are a sample, from which the correlation over all heads is estimated."""

    @property
    def line(self) -> str:
        """One line for a terminal.

        >>> EstimateQuality("name", "attribution", "ablation", "a", "loss", 0.9, 0.8, 0.95, 8).line
        'name: attribution orders 8 heads as ablation does, rank correlation 0.90 [0.80, 0.95]'
        """
        if self.value is None:
            return f"{self.feature}: {self.estimate} against {self.exact}: undefined"
        which = f"{self.heads} heads"
        if self.sampled:
            which = f"all heads (by {self.heads} of them)"
        interval = ""
        if self.low is not None and self.high is not None:
            interval = f" [{self.low:.2f}, {self.high:.2f}]"
        return (
            f"{self.feature}: {self.estimate} orders {which} as {self.exact} does, rank "
            f"correlation {self.value:.2f}{interval}"
        )
