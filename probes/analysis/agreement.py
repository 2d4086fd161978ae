"""All pairs of methods that have a map of a feature, compared.

    run.agreement("indirect_object")

The statistics are in ``probes.statistics.agreement``; here they are given their maps, and unsigned
methods are compared with effects twice: as oriented, and by size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd

from probes.results.feature_table import FeatureTable
from probes.results.method_maps import Cell, named_heads
from probes.statistics.agreement import (
    FEWEST,
    Agreement,
    Coincidence,
    agree,
    coincidence,
    layer_codes,
)
from probes.statistics.maps import MapEvidence


@dataclass(frozen=True)
class MethodPair:
    """Two maps, and how they agree."""

    first: FeatureTable
    second: FeatureTable
    oriented: Agreement
    """As the values are oriented."""
    by_size: Agreement | None
    """With the sizes of the signed map, where just one of them is signed: an unsigned method names
    a head that works against the answer as it names one that works for it."""

    @property
    def versions(self) -> list[Agreement]:
        """One or both, the oriented one first."""
        return [self.oriented] if self.by_size is None else [self.oriented, self.by_size]


@dataclass(frozen=True)
class Verdict:
    """Heads that at least two maps of different methods name."""

    methods: list[str]
    """The methods that name heads."""
    heads: dict[Cell, list[str]]
    """By head the methods that name it, at least two."""
    chance: Coincidence
    """How many would be named if each method's heads were permuted within their layers."""


def evidence_of(own: FeatureTable, maps: Sequence[MapEvidence]) -> MapEvidence | None:
    """The evidence behind a map of the table; ``None`` where it was not kept."""
    s = own.subject
    wanted = (own.feature, s.site, s.probe, s.method, s.metric, s.effect, s.positions)
    return next((one for one in maps if one.key == wanted), None)


def method_pairs(
    tables: Sequence[FeatureTable],
    maps: Sequence[MapEvidence],
    *,
    k: int = 10,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[MethodPair]:
    """Every pair of maps whose evidence was kept and that have enough heads in common."""
    known = [(own, one) for own in tables if (one := evidence_of(own, maps)) is not None]
    pairs = []
    for (first, a), (second, b) in combinations(known, 2):
        if len(set(a.keys) & set(b.keys)) < FEWEST:
            continue
        compare = partial(agree, a, b, k=k, confidence=confidence, seed=seed)
        by_size = None
        if first.signed != second.signed:
            by_size = compare(absolute=(first.signed, second.signed))
        pairs.append(MethodPair(first, second, compare(), by_size))
    return pairs


def verdict(
    tables: Sequence[FeatureTable], *, level: float = 0.05, seed: int = 0
) -> Verdict | None:
    """Heads that several methods name, against chance; ``None`` where fewer than two name any.

    A method with several maps (variants, total and direct) has one voice: its first map's.
    """
    first_maps = {own.method: own for own in reversed(tables)}
    named = {m: named_heads(own, level=level) for m, own in first_maps.items()}
    methods = list(dict.fromkeys(own.method for own in tables if named[own.method]))
    if len(methods) < 2:
        return None
    units = sorted(set().union(*(_units(first_maps[m]) for m in methods)))
    votes = np.array([[unit in named[m] for unit in units] for m in methods])
    chance = coincidence(votes, layer_codes(list(units)), seed=seed)
    heads = {
        unit: [m for m in methods if unit in named[m]]
        for unit, count in zip(units, votes.sum(axis=0), strict=True)
        if count >= 2
    }
    return Verdict(methods, heads, chance)


def agreement_frame(pairs: Sequence[MethodPair]) -> pd.DataFrame:
    """A row for each comparison: the maps, the correlation with its interval, null and hits."""
    return pd.DataFrame(
        [
            _line(pair, one, by_size=number == 1)
            for pair in pairs
            for number, one in enumerate(pair.versions)
        ]
    )


def _line(pair: MethodPair, one: Agreement, *, by_size: bool) -> dict[str, object]:
    sides: dict[str, object] = {}
    for name, own in (("first", pair.first), ("second", pair.second)):
        s = own.subject
        sides |= {
            name: s.label, f"{name}_feature": own.feature, f"{name}_method": s.method,
            f"{name}_probe": s.probe, f"{name}_metric": s.metric, f"{name}_effect": s.effect,
        }  # fmt: skip
    return {
        **sides,
        "by_size": by_size,
        "correlation": one.value,
        "ci_low": one.low,
        "ci_high": one.high,
        "ceiling": one.ceiling,
        "null_mean": one.null.mean,
        "null_low": one.null.low,
        "null_high": one.null.high,
        "p_value": one.null.p,
        "between_halves": one.between_halves,
        "within_halves": one.within_halves,
        "k": one.hits.k,
        "hits_forward": one.hits.forward,
        "hits_backward": one.hits.backward,
        "hits_chance": one.hits.chance,
        "heads": len(one.units),
        "sampled": one.sampled,
        "groups": one.groups,
        "groups_first": one.own_groups[0],
        "groups_second": one.own_groups[1],
    }


def _units(own: FeatureTable) -> set[Cell]:
    rows = own.values(own.metric).dropna(subset=["value", "layer", "head"])
    cells = zip(rows["stream"], rows["layer"], rows["head"], strict=True)
    return {(str(stream), int(layer), int(head)) for stream, layer, head in cells}
