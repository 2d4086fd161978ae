"""What a run takes over from others: parts that they have fitted or measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from probes.training.problems import ActivationSource


class Merged(Protocol):
    """Parts that other processes have made and that count as this run's."""

    @property
    def directories(self) -> tuple[Path, ...]:
        """Of the runs or shards that have left them."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Of their fits."""

    @property
    def stored_only(self) -> bool:
        """Whether the run is refused where its activations are not stored."""

    def files(self, suffix: str) -> Iterator[tuple[Path, Mapping[str, Any]]]:
        """The files of all parts with this ending, with the identity of the fits beside each."""

    def require_same_run(
        self, identity: Mapping[str, Any], sources: Sequence[ActivationSource]
    ) -> None:
        """Refuse parts that are not of the run with this identity and these activations."""
