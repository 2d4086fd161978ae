"""Layers whose heads stand in for each other: together they matter, and none of them alone does.

Where several heads can do the same, ablating one of them costs little (Olsson et al. 2022, arXiv
2209.11895, of induction heads; McGrath et al. 2023, arXiv 2307.15771, of backups), and a map of
single effects names none of them. The effect of ablating all heads of the layer together shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from probes.results.vocabulary.quantities import quantity_kind
from probes.statistics.bootstrap import Draws
from probes.statistics.maps import Layer, MapEvidence

LOST = 0.25
"""Of the clean measure: what a layer without its heads loses at least."""
ALONE = 0.5
"""Of what the layer loses: what all its heads lose at most, each alone, added up. One half leaves
room for heads that add up but for noise, whose sum is all of it."""
NEAR_0 = 0.25
"""Of what the layer loses: what the head with the largest effect changes at most."""
LISTED = 3
"""Layers that are named."""


@dataclass(frozen=True)
class SharedRole:
    """A layer whose heads do together what none of them is needed for alone."""

    layer: Layer
    heads: int
    together: float
    """The effect of ablating all of them in one pass."""
    largest: float
    """The size of the largest effect of one of them alone."""
    added: float
    """The effects of each alone, added up."""


def shared_roles(
    heads: MapEvidence, together: MapEvidence, clean: float, draws: Draws | None
) -> list[SharedRole]:
    """The layers of a model for which that holds, the largest loss first.

    heads, together: total effects of single heads, and of all heads of a layer, on the same rows.
    clean: the mean of the measure without an edit. draws: the loss beyond the sum must have an
    interval above 0; without, the values decide.
    """
    found = []
    whole, single = together.sums(), heads.sums().value()
    for number, (stream, layer, _) in enumerate(together.keys):
        mine = np.array([unit[:2] == (stream, layer) for unit in heads.keys])
        if mine.sum() < 2:
            continue
        all_heads = whole.of_units(np.array([number]))
        alone = replace(heads, totals=heads.totals[mine].sum(axis=0, keepdims=True)).sums()
        lost, added = float(all_heads.value()[0]), float(alone.value()[0])
        largest = float(np.abs(single[mine]).max())
        needed = largest > NEAR_0 * lost or added > ALONE * lost
        if lost < LOST * abs(clean) or lost <= 0 or needed:
            continue
        if draws is not None and draws.interval(all_heads, alone).low[0] <= 0:
            continue
        found.append(SharedRole((stream, layer), int(mine.sum()), lost, largest, added))
    return sorted(found, key=lambda one: -one.together)


def shared_roles_sentence(found: Sequence[SharedRole], metric: str, clean: float) -> str:
    """What a reader of the map of single effects has to know; empty where there is nothing."""
    if not found:
        return ""
    label = quantity_kind(metric).label
    streams = {one.layer[0] for one in found}
    places = [
        (f"{one.layer[0]} " if len(streams) > 1 else "") + f"layer {one.layer[1]} by "
        f"{one.together:.3g} without all {one.heads} heads, and moves by {one.largest:.2g} at "
        "most without any one of them"
        for one in found[:LISTED]
    ]
    more = f" (and {len(found) - LISTED} more layers)" if len(found) > LISTED else ""
    return (
        f"the {label}, {clean:.3g} without an edit, falls in {'; in '.join(places)}{more}: these "
        "heads stand in for each other, so single ablations cannot say which of them do the work; "
        "denoising patching and direct logit attribution ask what each of them can do"
    )
