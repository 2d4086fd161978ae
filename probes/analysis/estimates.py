"""How well attribution orders heads where their exact effects were measured too.

Attribution is a linear estimate: whether it may stand for exact effects differs between models and
measures, so the rank correlation is said wherever a run has both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from probes.analysis.agreement import evidence_of
from probes.results.feature_table import FeatureTable
from probes.results.findings import EstimateQuality
from probes.results.method_maps import own_maps
from probes.results.table import features
from probes.results.vocabulary.methods import TOTAL
from probes.results.vocabulary.quantities import NORMALISED
from probes.statistics.agreement import FEWEST, agree
from probes.statistics.maps import MapEvidence

ESTIMATED = {"mean": "ablation"}
"""By variant of attribution the method that it estimates; all others estimate patching."""


def estimate_qualities(
    table: pd.DataFrame, maps: Sequence[MapEvidence], *, confidence: float = 0.95
) -> list[EstimateQuality]:
    """One for each map of attribution and each map of the total effects that it estimates.

    maps: the evidence of the run.
    """
    return [
        quality
        for feature in features(table)
        for quality in _of_feature(own_maps(table, feature), maps, confidence)
    ]


def _of_feature(
    tables: Sequence[FeatureTable], maps: Sequence[MapEvidence], confidence: float
) -> Iterator[EstimateQuality]:
    for estimate in (own for own in tables if own.method == "attribution"):
        method = ESTIMATED.get(estimate.probe, "patching")
        for exact in (own for own in tables if own.method == method):
            s = exact.subject
            if s.effect != TOTAL or s.metric != estimate.metric or s.metric.startswith(NORMALISED):
                continue
            first, second = evidence_of(estimate, maps), evidence_of(exact, maps)
            if first is None or second is None or len(set(first.keys) & set(second.keys)) < FEWEST:
                continue
            # Both are oriented alike, and their signs are compared too.
            found = agree(first, second, confidence=confidence)
            yield EstimateQuality(
                feature=exact.feature,
                estimate=estimate.subject.label,
                exact=s.label,
                key=f"{estimate.method}/{estimate.probe}/{s.method}/{s.probe}",
                metric=s.metric,
                value=_number(found.value),
                low=_number(found.low),
                high=_number(found.high),
                heads=len(found.units),
                sampled=found.sampled,
            )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
