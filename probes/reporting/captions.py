"""What stands above a map, in the image and in the terminal."""

from __future__ import annotations

import pandas as pd

from probes.reporting.head_map import HeadMap
from probes.results.feature_table import FeatureTable
from probes.results.record import RunRecord
from probes.results.vocabulary import METHODS


def map_title(feature: str, record: RunRecord | None) -> str:
    """What is decoded, from which model, on which texts."""
    if record is None:
        return feature
    return f"{feature} · {record.model.title} · {record.corpus.name}"


def map_subtitle(own: FeatureTable, drawn: HeadMap, record: RunRecord | None) -> str:
    """Metric, majority, best head with its interval, and how many heads are significant."""
    q, metric = drawn.quantity, drawn.quantity.name
    parts = [f"{drawn.probe} {METHODS[drawn.method].label}, {q.label} on test"]
    if q.anchor_label:
        task = record.tasks.get(drawn.feature) if record else None
        named = f" ({task.majority})" if task and q.anchor_label == "majority" else ""
        parts.append(f"{q.anchor_label}{named} {q.anchor:.3f}")
    if drawn.ranks:
        ranked_by = own.ranked_by(metric)
        best = own.top(1, metric=ranked_by).iloc[0]
        where = f"layer {best['layer']}"
        if pd.notna(best["head"]):
            where += f" head {best['head']}"
        if len(drawn.panels) > 1:
            where = f"{best['stream']} {where}"
        interval = ""
        if pd.notna(best["ci_low"]):
            interval = f" [{best['ci_low']:.3f}, {best['ci_high']:.3f}]"
        what = "" if ranked_by == metric else "accuracy "
        parts.append(f"best on validation: {where} with {what}{best['test']:.3f}{interval}")
    if drawn.evidence:
        parts.append(f"{drawn.passed} of {drawn.tested} {evidence_label(drawn)}")
    return " · ".join(parts)


def evidence_label(drawn: HeadMap) -> str:
    """What it means that a head of this map is drawn at full strength."""
    by = {
        "q_value": f"significant at false discovery rate {drawn.level:g}",
        "p_familywise": f"significant at family-wise {drawn.level:g}",
        "p_value": f"with p at most {drawn.level:g}, uncorrected",
        "interval": f"distinguishable from 0 by {100 * (1 - drawn.level):g}% intervals",
    }
    return by[drawn.evidence or "q_value"]
