"""An entry of the catalogue: a kind of head, and the features that decode what it carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from probes.corpora.corpus import Level

STAGES: dict[str, str] = {
    "KR": "knowledge recalling",
    "ICI": "in-context identification",
    "LR": "latent reasoning",
    "EP": "expression preparation",
}
"""Key of each stage -> its name, in the order of the survey (arXiv 2409.03752)."""


@dataclass(frozen=True)
class Paper:
    """The paper that describes a kind of head."""

    authors: str
    year: int
    title: str
    arxiv: str | None = None
    url: str | None = None

    def __str__(self) -> str:
        return f"{self.authors} {self.year}"


@dataclass(frozen=True)
class Entry:
    """A kind of head, and the features of one corpus that decode what it carries."""

    name: str
    kind: str
    """Name of such heads; a kind that is read on several corpora has several entries."""
    stage: str
    """Key of ``STAGES``."""
    substage: str
    definition: str
    paper: Paper
    corpus: str
    """Choice of the config group ``corpus``, one that needs no files."""
    features: tuple[str, ...]
    level: Level
    read_at: str
    """Where in the text the features are read, in words."""
    decoders_only: bool
    """Whether the features decode the next token, which an encoder does not predict."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """``corpus.options`` with which the generated corpus has the features."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Other overrides that the features need."""
    benchmarks: tuple[str, ...] = ()
    """Choices of ``corpus`` that decode the same from published data."""

    @property
    def overrides(self) -> list[str]:
        """The arguments of ``python train.py`` that probe this entry."""
        return [
            f"corpus={self.corpus}",
            *(f"corpus.options.{key}={value}" for key, value in self.options.items()),
            *(f"{key}={value}" for key, value in self.settings.items()),
            f"features=[{','.join(self.features)}]",
        ]

    def to_json(self) -> dict[str, Any]:
        """The entry as JSON values; ``from_json`` reads it back."""
        return {
            **asdict(self),
            "features": list(self.features),
            "benchmarks": list(self.benchmarks),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Entry:
        """The entry that ``to_json`` gave."""
        known = dict(content)
        known["paper"] = Paper(**known["paper"])
        for key in ("features", "benchmarks"):
            known[key] = tuple(known.get(key, ()))
        return cls(**known)
