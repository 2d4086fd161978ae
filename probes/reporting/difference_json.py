"""Two maps' difference for programs: accuracies are shares, as in all files."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from probes.reporting.difference import ComparedRun, Difference
from probes.reporting.difference_unit import IN_POINTS


def difference_json(shown: Difference) -> dict[str, Any]:
    """All numbers of a comparison, first minus second; what is undefined is None."""
    comparison = shown.comparison
    rank = None
    if comparison.rank is not None:
        fields = ("value", "low", "high", "ceiling", "corrected")
        rank = {name: _number(getattr(comparison.rank, name)) for name in fields}
    whole = shown.site != "heads"
    of = {} if shown.subject is None else asdict(shown.subject)
    return {
        "feature": shown.feature,
        "site": shown.site,
        "method": shown.method,
        "metric": of.get("metric", "accuracy"),
        "effect": of.get("effect", ""),
        "positions": of.get("positions", ""),
        "unit": "share" if shown.unit is IN_POINTS else shown.unit.name,
        "first": _side(shown.first),
        "second": _side(shown.second),
        "groups": comparison.groups,
        "differing": int(shown.differing.sum()),
        "units": [
            {
                "stream": stream,
                "layer": layer,
                "head": None if whole else head,
                "difference": _number(value),
                "ci_low": _number(low),
                "ci_high": _number(high),
            }
            for (stream, layer, head), value, low, high in zip(
                comparison.units,
                comparison.difference,
                comparison.interval.low,
                comparison.interval.high,
                strict=True,
            )
        ],
        "rank_correlation": rank,
        "profiles": {
            stream: [
                {
                    "depth": _number(profile.depth[row]),
                    "first": _number(profile.first[row]),
                    "second": _number(profile.second[row]),
                    "difference": _number(profile.difference[row]),
                    "ci_low": _number(profile.interval.low[row]),
                    "ci_high": _number(profile.interval.high[row]),
                }
                for row in range(len(profile.depth))
            ]
            for stream, profile in comparison.profiles.items()
        },
    }


def _side(side: ComparedRun) -> dict[str, str]:
    return {
        "run": str(side.run),
        "model": side.record.model.name,
        "fingerprint": side.record.model.fingerprint,
        "probe": side.probe,
    }


def _number(value: float) -> float | None:
    """Six significant digits; JSON has no NaN."""
    return float(f"{value:.6g}") if np.isfinite(value) else None
