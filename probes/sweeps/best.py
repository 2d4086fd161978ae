"""The best job of a sweep for each feature, and how far the rows settle that it is the best."""

from __future__ import annotations

from collections.abc import Sequence

from probes.sweeps.lines import Line

FEW_ROWS = 200
"""Test rows below which the best of several jobs carries a caveat: chance alone lifts the best of
many heads by several points there."""


def best_lines(lines: Sequence[Line]) -> list[Line]:
    """For each feature the job whose best head reaches most on validation; of several jobs only."""
    of_feature: dict[str, list[Line]] = {}
    for line in lines:
        if line.validation is not None:
            of_feature.setdefault(line.feature, []).append(line)
    return [
        max(candidates, key=lambda line: line.validation or 0.0)
        for candidates in of_feature.values()
        if len(candidates) > 1
    ]


def choice_caveats(best: Sequence[Line], lines: Sequence[Line]) -> list[tuple[str, str]]:
    """What must be known before the best job of a sweep is taken for the best: who, and why."""
    caveats = []
    for line in best:
        others = [
            other
            for other in lines
            if other.feature == line.feature and other is not line and other.best.value is not None
        ]
        reasons = []
        if line.rows is not None and line.rows < FEW_ROWS:
            reasons.append(f"it rests on {line.rows} test rows")
        near = sum(_holds(other, line.best.value) for other in others)
        if near:
            reasons.append(
                f"the test intervals of {near} of {len(others)} other jobs hold its value"
            )
        if reasons:
            text = (
                f"{line.feature}: the best of {len(others) + 1} jobs by validation; "
                f"{' and '.join(reasons)}, so another job may be as good."
            )
            caveats.append((f"job {line.label}", text))
    return caveats


def _holds(line: Line, value: float | None) -> bool:
    low, high = line.best.low, line.best.high
    return value is not None and low is not None and high is not None and low <= value <= high
