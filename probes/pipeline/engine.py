"""Where the parts of a run are carried out: in this process, or as tasks on a cluster.

An engine stores what it extracts in the cache and what it fits in the run's parts, so that the run
itself, which comes after, finds them there and is the same on every engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from probes.pipeline.effect_store import EffectStore
from probes.pipeline.methods import MethodsOfRun
from probes.pipeline.part_store import PartStore
from probes.statistics.maps import Layer
from probes.training.parts import PlannedPart


class Engine(Protocol):
    """What a run asks of an engine."""

    def extract(self) -> None:
        """Store the activations of the run."""

    def machine(self) -> Mapping[str, Any]:
        """What the fits are computed on (``identity.MACHINE``); empty for this process."""
        ...

    def fit(
        self,
        plan: Sequence[PlannedPart],
        store: PartStore,
        best: Mapping[str, Layer] | None = None,
    ) -> None:
        """Store the results of these parts.

        best: by feature the layer of the best head, for parts that follow from it.
        """

    def edit(self, methods: MethodsOfRun, store: EffectStore) -> None:
        """Store the effects of the methods that edit every head alone."""


class LocalEngine:
    """Leaves everything to the run itself."""

    def extract(self) -> None:
        """Nothing."""

    def machine(self) -> Mapping[str, Any]:
        """This process."""
        return {}

    def fit(
        self,
        plan: Sequence[PlannedPart],
        store: PartStore,
        best: Mapping[str, Layer] | None = None,
    ) -> None:
        """Nothing."""

    def edit(self, methods: MethodsOfRun, store: EffectStore) -> None:
        """Nothing."""


LOCAL = LocalEngine()
