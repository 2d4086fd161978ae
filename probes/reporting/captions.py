"""What stands above a map, in the image and in the terminal."""

from __future__ import annotations

import pandas as pd

from probes.reporting.head_map import HeadMap
from probes.results.feature_table import FeatureTable
from probes.results.record import RunRecord
from probes.results.vocabulary import METHODS, quantity_kind
from probes.results.vocabulary.sites import of_units


def map_title(feature: str, record: RunRecord | None) -> str:
    """What is decoded, from which model, on which texts."""
    if record is None:
        return feature
    return f"{feature} · {record.model.title} · {record.corpus.name}"


def map_subtitle(own: FeatureTable, drawn: HeadMap, record: RunRecord | None) -> str:
    """Metric, majority, best head with its interval, and how many heads are significant."""
    q, metric = drawn.quantity, drawn.quantity.name
    parts = [f"{drawn.label}, {q.label} on test"]
    if q.diverging:
        parts.append(of_units(METHODS[drawn.method].above, drawn.site))
    elif q.anchor_label:
        task = record.tasks.get(drawn.feature) if record else None
        named = f" ({task.majority})" if task and q.anchor_label == "majority" else ""
        parts.append(f"{q.anchor_label}{named} {q.anchor:.3f}")
    if drawn.ranks:
        ranked_by = own.ranked_by(metric)
        chosen = "largest" if own.signed else "best"
        best = own.top(1, metric=ranked_by).iloc[0]
        where = f"layer {best['layer']}"
        if pd.notna(best["head"]):
            where += f" head {best['head']}"
        if len(drawn.panels) > 1:
            where = f"{best['stream']} {where}"
        interval = ""
        if pd.notna(best["ci_low"]):
            interval = f" [{best['ci_low']:.3f}, {best['ci_high']:.3f}]"
        what = "" if ranked_by == metric else f"{quantity_kind(ranked_by).label} "
        parts.append(f"{chosen} on validation: {where} with {what}{best['test']:.3f}{interval}")
    if drawn.evidence:
        parts.append(f"{drawn.passed} of {drawn.tested} {evidence_label(drawn)}")
    return " · ".join(parts)


def evidence_label(drawn: HeadMap) -> str:
    """What it means that a head of this map is drawn at full strength."""
    by = {
        "q_value": f"significant at false discovery rate {drawn.level:g}",
        "p_familywise": f"significant at family-wise {drawn.level:g}",
        "q_control": f"beyond the matched control at false discovery rate {drawn.level:g}",
        "p_control_familywise": f"beyond the matched control at family-wise {drawn.level:g}",
        "p_value": f"with p at most {drawn.level:g}, uncorrected",
        "interval": f"distinguishable from 0 by {100 * (1 - drawn.level):g}% intervals",
    }
    return by[drawn.evidence or "q_value"]


def chosen_label(drawn: HeadMap) -> str:
    """How the heads that are marked were chosen."""
    return "largest on validation" if drawn.quantity.diverging else "best on validation"
