"""Differences of two maps: linear against MLP, two checkpoints, trained against random weights.

Both maps must report the same groups of the same corpus; the same draws of groups then serve both,
so that what makes a document hard for both cancels out of the difference. Symbols: ``U`` paired
units, ``H`` units of one map, ``B`` draws, ``G`` groups, ``L`` layers, ``P`` depths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probes.core.errors import UserError
from probes.statistics.bootstrap import Interval, draw_groups, quantile_interval
from probes.statistics.group_sums import GroupSums
from probes.statistics.groups import Array
from probes.statistics.maps import MapEvidence, Unit
from probes.statistics.ranks import (
    fisher,
    fisher_interval,
    jackknife_variance,
    random_halves,
    reliability,
    spearman,
)


@dataclass(frozen=True)
class RankCorrelation:
    """Whether two maps order their heads alike."""

    value: float
    """Spearman's, over the units in both maps. Noise in either map lowers it."""
    low: float
    """Interval of what other groups, as many as these, would give."""
    high: float
    ceiling: float
    """What ``value`` would be if the true orders were the same, given the noise of both maps."""

    @property
    def corrected(self) -> float:
        """With the noise of both maps removed (Spearman 1904): an estimate, without interval."""
        return float(np.clip(self.value / self.ceiling, -1.0, 1.0))


@dataclass(frozen=True)
class DepthProfile:
    """Mean test value of a layer's units against relative depth, first minus second map."""

    depth: Array
    """(P,) 0 is the first layer, 1 the last."""
    first: Array
    """(P,)"""
    second: Array
    difference: Array
    interval: Interval


@dataclass(frozen=True)
class Comparison:
    """First map minus second map, on the groups that both report."""

    units: list[Unit]
    """(U,) stream, layer and head that both maps have; empty where the models differ in shape."""
    difference: Array
    """(U,) of what the maps hold, on test."""
    interval: Interval
    rank: RankCorrelation | None
    """None with fewer than three units in common."""
    profiles: dict[str, DepthProfile]
    """For each stream in both maps, or for the only stream of each; layers at equal relative depth
    are compared."""
    groups: int
    sampled: bool = False
    """Whether either map has chosen heads and a sample of the others: then only heads that both
    have are compared, and neither the order nor means by layer, which the choice has changed."""


def compare_maps(
    first: MapEvidence,
    second: MapEvidence,
    *,
    draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Differences of two maps with paired cluster-bootstrap intervals.

    Units are paired by stream, layer and head if the maps have the same layers and heads; else
    only depth profiles are compared, interpolated between layers. Of maps of chosen heads those
    are compared that both have.

    Raises:
        UserError: the maps have fewer than two groups in common (they were made on different
            corpora or splits), hold different metrics, or no head of two samples is in both.
    """
    if first.metric != second.metric:
        raise UserError(
            f"the map of '{first.feature}' holds {first.metric}, that of '{second.feature}' "
            f"{second.metric}: their difference has no meaning",
            allowed="two maps of the same metric",
        )
    groups = np.intersect1d(first.groups, second.groups)
    if len(groups) < 2:
        raise UserError(
            f"the two maps of '{first.feature}' and '{second.feature}' report on {len(groups)} "
            "common groups, so there is nothing to pair",
            allowed="runs on the same corpus and split (corpus.*, split.*)",
        )
    drawn = draw_groups(len(groups), draws, seed=seed, confidence=confidence)
    a, b = first.sums(groups), second.sums(groups)
    values = a.value(), b.value()  # (H,), (H',)
    replicates = a.resampled(drawn.multiplicity), b.resampled(drawn.multiplicity)  # (B, H), ...
    units, sampled = _common_units(first, second)
    paired = b.of_units(np.array([second.keys.index(unit) for unit in units], dtype=np.int64))
    # Copied as the partner is: sums of effects must not differ by the order of their addition.
    own = a.of_units(np.array([first.keys.index(unit) for unit in units], dtype=np.int64))
    ordered = len(units) > 2 and not sampled
    return Comparison(
        units=units,
        difference=own.value() - paired.value(),
        interval=drawn.interval(own, minus=paired) if units else Interval(*np.zeros((2, 0))),
        rank=_rank_correlation(own, paired, confidence, seed) if ordered else None,
        profiles={
            name: _profile(
                [
                    _by_layer(evidence, stream)
                    for evidence, stream in zip((first, second), pair, strict=True)
                ],
                values,
                replicates,
                confidence,
                len(groups),
            )
            for name, pair in ({} if sampled else _stream_pairs(first, second)).items()
        },
        groups=len(groups),
        sampled=sampled,
    )


def _common_units(first: MapEvidence, second: MapEvidence) -> tuple[list[Unit], bool]:
    """The units that are paired, in the order of the first map, and whether either is a sample."""
    sampled = first.weights is not None or second.weights is not None
    common = set(first.keys) & set(second.keys)
    if not sampled:
        return (first.keys if common == set(first.keys) == set(second.keys) else []), False
    if not common:
        raise UserError(
            f"the maps of '{first.feature}' and '{second.feature}' have no head in common: both "
            "have chosen heads only",
            fix="ablation.heads=all in one of the runs",
        )
    return [unit for unit in first.keys if unit in common], True


def _rank_correlation(a: GroupSums, b: GroupSums, confidence: float, seed: int) -> RankCorrelation:
    """With a jackknife interval on Fisher's scale.

    Not quantiles of bootstrap draws: these add as much noise to the data as the data have
    themselves, so that their correlations are too low and the interval may miss the value.
    """
    value = float(spearman(a.value()[None], b.value()[None])[0])
    variance = jackknife_variance(fisher(spearman(a.without_each(), b.without_each())))
    low, high = fisher_interval(value, [(variance, a.groups - 1)], confidence)
    halves = random_halves(a.groups, seed)
    ceiling = float(np.sqrt(reliability(a, halves) * reliability(b, halves)))
    return RankCorrelation(value, low, high, ceiling or float("nan"))


def _stream_pairs(first: MapEvidence, second: MapEvidence) -> dict[str, tuple[str, str]]:
    """Streams to compare by depth: of the same name, or the only one of each model."""
    streams = [list(dict.fromkeys(one.streams)) for one in (first, second)]
    common = {name: (name, name) for name in streams[0] if name in streams[1]}
    if not common and len(streams[0]) == len(streams[1]) == 1:
        a, b = streams[0][0], streams[1][0]
        return {f"{a} against {b}": (a, b)}
    return common


def _by_layer(evidence: MapEvidence, stream: str) -> npt.NDArray[np.float64]:
    """(L, H) weights that average the units of each layer of a stream, in order of depth."""
    inside = np.array([name == stream for name in evidence.streams])
    layer = evidence.units[:, 0]
    members = [(inside & (layer == n)).astype(float) for n in np.unique(layer[inside])]
    return np.stack([weights / weights.sum() for weights in members])


def _profile(
    averages: list[npt.NDArray[np.float64]],
    values: tuple[Array, Array],
    replicates: tuple[Array, Array],
    confidence: float,
    groups: int,
) -> DepthProfile:
    depth = np.linspace(0, 1, max(len(average) for average in averages))
    at_depth = [_interpolation(len(average), depth) @ average for average in averages]  # (P, H)
    first, second = (w @ value for w, value in zip(at_depth, values, strict=True))
    drawn = [r @ w.T for w, r in zip(at_depth, replicates, strict=True)]  # (B, P)
    interval = quantile_interval(drawn[0] - drawn[1], confidence, groups=groups)
    return DepthProfile(depth, first, second, first - second, interval)


def _interpolation(layers: int, depth: Array) -> npt.NDArray[np.float64]:
    """(P, L) weights of linear interpolation between layers at relative depths (P,)."""
    places = np.linspace(0, 1, layers)
    return np.stack([np.interp(depth, places, unit) for unit in np.eye(layers)], axis=1)
