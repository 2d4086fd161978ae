"""Do two methods name the same heads? Rank correlation, its interval, its null, and hits.

A probe tells what a head carries, an effect what the model uses, a score what a head looks at: they
need not agree. What agreement means depends on three things that are measured beside it. Noise of
either map lowers it (the ceiling). Layers alone make maps alike (the null permutes heads within
their layer). Two methods scored on the same texts share what is peculiar to these texts (the
correlation between disjoint halves of the groups does without). Symbols: ``U`` units that both maps
have, ``G`` groups, ``P`` permutations, ``M`` methods.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from probes.core.errors import UserError
from probes.statistics.group_sums import GroupSums
from probes.statistics.groups import Array
from probes.statistics.maps import MapEvidence, Unit
from probes.statistics.ranks import (
    Correlate,
    Transform,
    fisher,
    fisher_interval,
    jackknife_variance,
    pearson,
    plain,
    random_halves,
    reliability,
    spearman,
    weighted_spearman,
)

PERMUTATIONS = 999
MOST_CELLS = 4_000_000
"""Permutations times units; models of thousands of heads get fewer permutations."""
FEWEST = 4
"""Units in common below which nothing is correlated."""
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LayerNull:
    """What the correlation would be if heads of one layer were exchangeable; NaN where each layer
    has a single unit, or all units of a map are alike."""

    mean: float
    low: float
    high: float
    """The central 95% of permutations."""
    p: float
    """Two-sided, that the measured correlation is one of them."""


@dataclass(frozen=True)
class Hits:
    """How many of the heads that one method chooses are among those of the other; NaN where all
    heads of a map are alike."""

    k: int
    forward: float
    """Share of the first's ``k`` best that are among the second's ``k`` best. The former are
    chosen on validation where it has values, the latter measured on test."""
    backward: float
    """The other way round."""
    chance: float
    """Mean of both if the second's heads were permuted within their layers."""


@dataclass(frozen=True)
class Agreement:
    """Two maps of the same heads by two methods."""

    units: list[Unit]
    """(U,)"""
    first: Array
    second: Array
    """(U,) test values, as oriented by their method."""
    absolute: tuple[bool, bool]
    """Whether the sizes of the first's and the second's values were compared."""
    value: float
    """Spearman's correlation over all units of the model."""
    low: float
    high: float
    """Interval of what other groups of texts (and another sample of units) would give; NaN where
    no side has groups."""
    ceiling: float
    """What ``value`` would be if the true orders were the same, given the noise of both maps; NaN
    where it is not known or noise hides the order of a map."""
    between_halves: float
    """Of the first on half of the groups and the second on the other half: without the noise that
    the methods share; NaN without common groups ..."""
    within_halves: float
    """... and of both on the same half, to compare it with."""
    null: LayerNull
    hits: Hits
    groups: int
    """Groups in common; 0: each side was jackknifed over its own."""
    own_groups: tuple[int, int]
    """Groups behind each side; below 2 a side adds nothing to the interval."""
    sampled: bool
    """Whether the units are a sample, and ``value`` an estimate for all by inverse weights."""


def agree(
    first: MapEvidence,
    second: MapEvidence,
    *,
    absolute: tuple[bool, bool] = (False, False),
    k: int = 10,
    confidence: float = 0.95,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Agreement:
    """Compare two maps by the order of the units that both have.

    Groups that both scored serve both sides of the jackknife, so that their common noise is
    accounted for. Without any, each side is jackknifed over its own groups and the variances are
    added. Units that were sampled (``MapEvidence.weights``) count by their weights, and the
    sampling adds its own variance by a stratified jackknife over units of one weight.

    absolute: compare sizes in place of values, of the first and of the second map.
    k: heads that each method chooses, for the hits; at most a third of the units.

    Raises:
        UserError: the maps are of other sites, or have fewer than four units in common.
    """
    index = {unit: position for position, unit in enumerate(second.keys)}
    units = [unit for unit in first.keys if unit in index]
    if first.site != second.site or len(units) < FEWEST:
        raise UserError(
            f"{first.feature} ({first.method}, site {first.site}) and {second.feature} "
            f"({second.method}, site {second.site}) have {len(units)} units in common, too few to "
            "compare their order",
            allowed=f"two maps of one site with at least {FEWEST} units in common",
        )
    positions = {unit: position for position, unit in enumerate(first.keys)}
    kept = (
        np.array([positions[unit] for unit in units]),
        np.array([index[unit] for unit in units]),
    )
    maps = (first, second)
    groups = np.intersect1d(first.groups, second.groups)
    paired = len(groups) >= 2
    sums = [
        one.sums(groups if paired else None).of_units(k) for one, k in zip(maps, kept, strict=True)
    ]
    weights = _weights(maps, kept)
    correlate: Correlate = (
        spearman if weights is None else partial(weighted_spearman, weights=weights)
    )
    transforms: list[Transform] = [np.abs if size else plain for size in absolute]
    x, y = (f(one.value()) for f, one in zip(transforms, sums, strict=True))
    value = float(correlate(x[None], y[None])[0])
    parts = _variances(sums, (x, y), transforms, correlate, paired=paired)
    if weights is not None:
        parts += _sampling_variances(x, y, weights)
    low, high = fisher_interval(value, parts, confidence)
    between, within = _halves(sums, transforms, correlate, seed) if paired else (np.nan, np.nan)
    layers = layer_codes(units)
    chosen = [
        f(one.validation[k]) if np.isfinite(one.validation[k]).all() else own
        for f, one, k, own in zip(transforms, maps, kept, (x, y), strict=True)
    ]
    return Agreement(
        units=units,
        first=first.sums().value()[kept[0]],
        second=second.sums().value()[kept[1]],
        absolute=absolute,
        value=value,
        low=low,
        high=high,
        ceiling=_ceiling(sums, transforms, correlate, seed),
        between_halves=between,
        within_halves=within,
        null=_layer_null(x, y, layers, correlate, permutations, seed),
        hits=_hits(x, y, chosen, layers, min(k, len(units) // 3)),
        groups=len(groups) if paired else 0,
        own_groups=(len(first.groups), len(second.groups)),
        sampled=weights is not None,
    )


def layer_codes(units: list[Unit]) -> Indices:
    """(U,) the same number for units of one layer of one stream."""
    places = [(stream, layer) for stream, layer, _ in units]
    known = {place: code for code, place in enumerate(dict.fromkeys(places))}
    return np.array([known[place] for place in places])


def permute_within(layers: Indices, count: int, random: np.random.Generator) -> Indices:
    """(count, U) positions of units, permuted within their layers."""
    by_layer = np.argsort(layers, kind="stable")
    drawn = np.argsort(layers + random.random((count, len(layers))), axis=1)
    permuted = np.empty_like(drawn)
    permuted[:, by_layer] = drawn
    return permuted


@dataclass(frozen=True)
class Coincidence:
    """How many heads several methods name, and how many they would by chance."""

    count: int
    expected: float
    """If each method's heads were permuted within their layers."""
    p: float
    """That chance gives as many."""


def coincidence(
    named: Bools, layers: Indices, *, least: int = 2, draws: int = PERMUTATIONS, seed: int = 0
) -> Coincidence:
    """Units that at least ``least`` of ``M`` methods name: (M, U), against layer-matched chance."""
    random = np.random.default_rng(seed)
    count = int((named.sum(axis=0) >= least).sum())
    votes = sum(one[permute_within(layers, draws, random)].astype(int) for one in named)
    null = (np.asarray(votes) >= least).sum(axis=1)  # (P,)
    return Coincidence(count, float(null.mean()), float((1 + (null >= count).sum()) / (1 + draws)))


def _weights(maps: tuple[MapEvidence, MapEvidence], kept: tuple[Indices, Indices]) -> Array | None:
    """(U,) of units that either map has only a sample of; those sampled twice count the more."""
    known = [one.weights[k] for one, k in zip(maps, kept, strict=True) if one.weights is not None]
    return None if not known else np.max(known, axis=0)


def _variances(
    sums: list[GroupSums],
    values: tuple[Array, Array],
    transforms: list[Transform],
    correlate: Correlate,
    *,
    paired: bool,
) -> list[tuple[float, float]]:
    """Variances on Fisher's scale with their degrees of freedom, from leaving out groups."""
    without = [
        f(one.without_each()) if one.groups > 1 else None
        for f, one in zip(transforms, sums, strict=True)
    ]  # (G, U)
    a, b = without
    if paired and a is not None and b is not None:
        return [(jackknife_variance(fisher(correlate(a, b))), len(a) - 1.0)]
    parts: list[tuple[float, float]] = []
    x, y = values
    if a is not None:
        parts.append(
            (jackknife_variance(fisher(correlate(a, np.broadcast_to(y, a.shape)))), len(a) - 1)
        )
    if b is not None:
        parts.append(
            (jackknife_variance(fisher(correlate(np.broadcast_to(x, b.shape), b))), len(b) - 1)
        )
    return parts


def _sampling_variances(x: Array, y: Array, weights: Array) -> list[tuple[float, float]]:
    """What another sample of units would change, from leaving out units of one weight in turn."""
    parts = []
    for weight in np.unique(weights[weights > 1]):
        members = np.flatnonzero(weights == weight)
        n = len(members)
        if n < 2:
            continue
        without = np.empty(n)
        for row, unit in enumerate(members):
            rest = weights.copy()
            rest[members] *= n / (n - 1)
            rest[unit] = 0.0
            without[row] = weighted_spearman(x[None], y[None], rest)[0]
        # The finite population: where all units were drawn there is nothing to be unsure of.
        parts.append(((1 - 1 / weight) * jackknife_variance(fisher(without)), n - 1.0))
    return parts


def _halves(
    sums: list[GroupSums], transforms: list[Transform], correlate: Correlate, seed: int
) -> tuple[float, float]:
    """Mean correlation between disjoint halves of the groups, and within the same half."""
    halves = random_halves(sums[0].groups, seed)
    (a, not_a), (b, not_b) = (
        [f(one.resampled(half * 1.0)) for half in (halves, ~halves)]
        for f, one in zip(transforms, sums, strict=True)
    )
    between = [correlate(a, not_b).mean(), correlate(not_a, b).mean()]
    within = [correlate(a, b).mean(), correlate(not_a, not_b).mean()]
    return float(np.mean(between)), float(np.mean(within))


def _ceiling(
    sums: list[GroupSums], transforms: list[Transform], correlate: Correlate, seed: int
) -> float:
    product = 1.0
    for f, one in zip(transforms, sums, strict=True):
        if one.groups > 1:
            halves = random_halves(one.groups, seed)
            product *= reliability(one, halves, transform=f, correlate=correlate)
    return float(np.sqrt(product)) or float("nan")


def _layer_null(
    x: Array, y: Array, layers: Indices, correlate: Correlate, permutations: int, seed: int
) -> LayerNull:
    value = float(correlate(x[None], y[None])[0])
    if len(np.unique(layers)) == len(layers) or np.isnan(value):
        return LayerNull(*[float("nan")] * 4)
    random = np.random.default_rng(seed)
    count = min(permutations, max(MOST_CELLS // len(x), 99))
    drawn = permute_within(layers, count, random)  # (P, U)
    if correlate is spearman:  # permuting leaves the ranks alone, so they are needed once
        null = pearson(rankdata(y)[drawn], rankdata(x))
    else:
        null = correlate(np.broadcast_to(x, drawn.shape), y[drawn])
    mean = float(null.mean())
    beyond = np.abs(null - mean) >= np.abs(value - mean) - 1e-9
    low, high = np.quantile(null, [0.025, 0.975])
    p = float((1 + beyond.sum()) / (1 + count))
    return LayerNull(mean, float(low), float(high), p)


def _hits(x: Array, y: Array, chosen: list[Array], layers: Indices, k: int) -> Hits:
    if any(np.ptp(values) == 0 for values in (x, y, *chosen)):  # the first heads are not the best
        return Hits(k, *[float("nan")] * 3)
    top = [_top(values, k) for values in (x, y)]
    picked = [_top(values, k) for values in chosen]
    forward, backward = picked[0] & top[1], picked[1] & top[0]
    sizes = np.bincount(layers)
    chance = [
        (np.bincount(layers, a) * np.bincount(layers, b) / sizes).sum() / k
        for a, b in ((picked[0], top[1]), (picked[1], top[0]))
    ]
    return Hits(k, float(forward.sum() / k), float(backward.sum() / k), float(np.mean(chance)))


def _top(values: Array, k: int) -> Bools:
    """(U,) whether a unit is among the ``k`` highest; the first of equal ones."""
    member = np.zeros(len(values), dtype=bool)
    member[np.argsort(-values, kind="stable")[:k]] = True
    return member
