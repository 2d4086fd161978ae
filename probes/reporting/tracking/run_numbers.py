"""A finished run in a few numbers, by name.

``FEATURE/validation_METRIC`` is what heads are chosen by and what a search may maximise.
``FEATURE/test_METRIC`` is what the head chosen by it reaches on test: to be read, not searched.
"""

from __future__ import annotations

import pandas as pd

from probes.reporting.head_map import HeadMap, head_map
from probes.results.feature_table import FeatureTable
from probes.results.method_maps import feature_maps
from probes.results.record import RunRecord
from probes.results.summary import baselines, best_estimate
from probes.results.table import features


def run_numbers(table: pd.DataFrame, record: RunRecord) -> dict[str, float]:
    """For each feature its best head, baselines and significance; other methods; times."""
    numbers: dict[str, float] = {}
    for feature in features(table):
        own = FeatureTable.of(table, feature)
        drawn = head_map(own)
        best = best_estimate(own)
        if best.value is not None:
            numbers[f"{feature}/test_{own.metric}"] = best.value
            numbers |= _first_place(drawn, f"{feature}/best")
            on_validation = own.values(own.metric, split="validation")["value"].dropna()
            if not own.signed and len(on_validation):
                numbers[validation_name(feature, own.metric)] = float(on_validation.max())
        for baseline in baselines(own):
            if baseline.estimate.value is not None:
                name = baseline.comparator.label.replace(" ", "_").lower()
                numbers[f"{feature}/{name}_test_{own.metric}"] = baseline.estimate.value
        if drawn.evidence:
            numbers[f"{feature}/significant_heads"] = float(drawn.passed)
        for other in feature_maps(table, feature)[1:]:
            numbers |= _method_numbers(other)
    for quality in record.estimates:
        if quality.value is not None:
            numbers[f"{quality.feature}/{quality.key}/rank_correlation"] = quality.value
    numbers |= {f"time/{name}": seconds for name, seconds in record.timings.items()}
    if record.tokens_per_second:
        numbers["time/tokens_per_second"] = record.tokens_per_second
    return numbers


def validation_name(feature: str, metric: str) -> str:
    """Of the best value on validation, while fits come in and at the end."""
    return f"{feature}/validation_{metric}"


def _method_numbers(own: FeatureTable) -> dict[str, float]:
    """The head of the largest effect of one method, and how many are significant."""
    s, drawn, best = own.subject, head_map(own), best_estimate(own)
    start = "/".join([own.feature, *filter(None, (s.method, s.probe, s.effect, s.positions))])
    numbers = {}
    if best.value is not None:
        numbers[f"{start}/largest_{own.metric}"] = best.value
        numbers |= _first_place(drawn, f"{start}/largest")
    if drawn.evidence:
        numbers[f"{start}/significant_heads"] = float(drawn.passed)
    return numbers


def _first_place(drawn: HeadMap, start: str) -> dict[str, float]:
    """Layer and head of the first in rank."""
    first = next((cell for cell, rank in drawn.ranks.items() if rank == 1), None)
    if first is None:
        return {}
    place = {f"{start}_layer": float(first[1])}
    if first[2] is not None:
        place[f"{start}_head"] = float(first[2])
    return place
