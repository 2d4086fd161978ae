"""From the values of a behaviour with and without an edit to the evidence of a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probes.interventions.behaviour import Behaviour
from probes.interventions.exact import Head
from probes.statistics.groups import Array, Groups
from probes.statistics.maps import MapEvidence

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Named:
    """What a map of effects is called in the results."""

    method: str
    variant: str
    effect: str = "total"
    positions: str = "all"


def effect_evidence(
    behaviour: Behaviour,
    heads: Sequence[Head],
    effects: Array,
    named: Named,
    *,
    site: str = "heads",
    metric: str | None = None,
    kept: BoolArray | None = None,
    reference: Array | None = None,
    weights: Array | None = None,
) -> MapEvidence:
    """Sums by group of the effects on the reported rows, and means on validation.

    effects: (H, N) oriented, so that above 0 the head helps; of rows that are not measured
        anything. kept: (N,) rows that were measured; None: all of them.
    reference: (N,) what the effects are divided by, as a ratio of means; None: their number.
    weights: (H,) of heads that were drawn; see ``SampledHeads``.
    """
    measured = np.ones(len(behaviour.texts), dtype=bool) if kept is None else kept
    rows = np.flatnonzero(behaviour.reported & measured)
    chosen = np.flatnonzero(behaviour.validation & measured)
    groups = Groups.of(behaviour.groups[rows])
    validation = np.full(len(heads), np.nan)
    if len(chosen):
        below = 1.0 if reference is None else reference[chosen].mean()
        validation = effects[:, chosen].mean(axis=1) / below
    return MapEvidence(
        feature=behaviour.feature,
        site=site,
        probe=named.variant,
        units=np.array([[s.layer, head or 0] for s, head in heads], dtype=np.int32),
        streams=tuple(s.stream for s, _ in heads),
        groups=groups.names.astype(np.int64),
        rows=groups.sizes,
        totals=groups.sum(effects[:, rows]),
        validation=validation,
        method=named.method,
        metric=metric or behaviour.measure.name,
        effect=named.effect,
        positions=named.positions,
        reference=None if reference is None else groups.sum(reference[rows]),
        validation_rows=len(chosen),
        weights=weights,
    )
