"""Layers whose effect the heads that were chosen do not account for.

Where only some heads are ablated (``ablation.heads=top:N``), the choice can miss the head that
matters most: a linear estimate sees little of a head that works through the attention of later
ones. All heads of its layer together still show that something is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from probes.results.vocabulary.quantities import quantity_kind
from probes.statistics.bootstrap import Draws
from probes.statistics.groups import Array
from probes.statistics.maps import Layer, MapEvidence

EXPLAINED = 0.5
"""Of the layer's effect: what its chosen heads, added up, account for at most."""
NOTABLE = 0.5
"""Of the largest effect of any chosen head: what is missing at least. A head with less than that
would not be among the first of the map."""
LISTED = 3
"""Layers that are named."""


@dataclass(frozen=True)
class UnexplainedLayer:
    """A layer with an effect that its chosen heads do not have."""

    layer: Layer
    heads: int
    """All that it has."""
    chosen: int
    """Those that were ablated alone."""
    together: float
    """The effect of ablating all heads in one pass."""
    added: float
    """The effects of the chosen ones, each alone, added up."""


def unexplained_layers(
    chosen: MapEvidence,
    together: MapEvidence,
    heads: Sequence[Layer],
    p_familywise: Array,
    draws: Draws | None,
    *,
    level: float,
) -> list[UnexplainedLayer]:
    """The layers for which that holds, those of the largest effect first.

    Only of layers of which some heads were left out: where all were measured, an effect that none
    of them has alone is that of shared roles (``shared_roles.py``).

    chosen, together: total effects of single heads, and of all heads of a layer, on the same rows.
    heads: the layer of each head of the model. p_familywise: of each effect in ``together``; it
    must be at most ``level``. draws: what is missing must have an interval on one side of 0;
    without, the values decide.
    """
    in_layer = Counter(heads)
    largest = float(np.abs(chosen.sums().value()).max())
    whole = together.sums()
    found = []
    for number, (stream, layer, _) in enumerate(together.keys):
        mine = np.array([unit[:2] == (stream, layer) for unit in chosen.keys])
        if mine.sum() == in_layer[stream, layer] or not p_familywise[number] <= level:
            continue
        all_heads = whole.of_units(np.array([number]))
        alone = replace(chosen, totals=chosen.totals[mine].sum(axis=0, keepdims=True)).sums()
        effect, added = float(all_heads.value()[0]), float(alone.value()[0])
        missing = abs(effect - added)
        if added / effect > EXPLAINED or missing < NOTABLE * largest:
            continue
        if draws is not None:
            interval = draws.interval(all_heads, alone)
            if interval.low[0] <= 0 <= interval.high[0]:
                continue
        found.append(
            UnexplainedLayer(
                (stream, layer), in_layer[stream, layer], int(mine.sum()), effect, added
            )
        )
    return sorted(found, key=lambda one: -abs(one.together))


def unexplained_layers_sentence(found: Sequence[UnexplainedLayer], metric: str, option: str) -> str:
    """What a reader of the map of chosen heads has to know; empty where there is nothing.

    option: the choice of heads, as it was given: ``ablation.heads=top:20``.
    """
    if not found:
        return ""
    streams = {one.layer[0] for one in found}
    places = [
        (f"{one.layer[0]} " if len(streams) > 1 else "") + f"layer {one.layer[1]} "
        f"({one.together:.3g}; {_chosen(one)})"
        for one in found[:LISTED]
    ]
    more = f", and {len(found) - LISTED} more layers" if len(found) > LISTED else ""
    numbers = ",".join(str(number) for number in sorted({one.layer[1] for one in found}))
    return (
        f"{option} left out heads of layers whose effect on the {quantity_kind(metric).label} the "
        f"chosen heads do not account for: {', '.join(places)}{more}. Either a head that was left "
        "out matters as much as the first of this map, or heads stand in for each other, so that "
        f"none is missed alone; layers=[{numbers}] ablation.heads=all measures each of them"
    )


def _chosen(one: UnexplainedLayer) -> str:
    if not one.chosen:
        return f"none of its {one.heads} heads was chosen"
    which = "1 was chosen" if one.chosen == 1 else f"{one.chosen} were chosen"
    return f"of its {one.heads} heads {which}, in sum {one.added:.2g}"
