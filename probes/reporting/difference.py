"""Two maps' difference: drawn like every other map, printed, and as JSON for programs.

Differences are first minus second: of probes in points (hundredths) of test accuracy, of other
methods in the units of what their effects are measured on. In JSON accuracies are shares, as in all
files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.text import Text

from probes.reporting.captions import evidence_label
from probes.reporting.difference_unit import IN_POINTS, DifferenceUnit
from probes.reporting.drawing.colours import number
from probes.reporting.head_map import HeadMap, Panel
from probes.reporting.page.sentences import plural
from probes.reporting.terminal import encodable, print_head_map, print_heading
from probes.results.record import RunRecord
from probes.results.subject import Subject
from probes.results.table import EVERYWHERE, layers_by_heads, pick
from probes.results.vocabulary import probe_label
from probes.results.vocabulary.methods import PROBE, has_effects
from probes.statistics.compare import Comparison, DepthProfile

MOST_DEPTHS = 13
"""Rows of a printed profile; deeper models show evenly spaced ones."""


@dataclass(frozen=True)
class ComparedRun:
    """One of the two maps."""

    run: Path
    """Its run directory, as it was given."""
    record: RunRecord
    probe: str


@dataclass(frozen=True)
class Difference:
    """A comparison of two maps and what they are maps of."""

    feature: str
    site: str
    first: ComparedRun
    second: ComparedRun
    confidence: float
    comparison: Comparison
    unit: DifferenceUnit = IN_POINTS
    subject: Subject | None = None
    """Of the first map, where it is none of probes' accuracy."""

    @property
    def method(self) -> str:
        """That of both maps."""
        return PROBE if self.subject is None else self.subject.method

    @property
    def names(self) -> tuple[str, str]:
        """What tells the two apart: model, probe, else the run directory."""
        first, second = self.first, self.second
        models = [_short(first, second), _short(second, first)]
        kinds = [probe_label(side.probe, self.method) for side in (first, second)]
        names = [
            ", ".join(own for own, other in zip(mine, others, strict=True) if own != other)
            for mine, others in (
                ((models[0], kinds[0]), (models[1], kinds[1])),
                ((models[1], kinds[1]), (models[0], kinds[0])),
            )
        ]
        return names[0] or str(first.run), names[1] or str(second.run)

    @property
    def differing(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """(U,) whether the interval of a unit leaves 0 out."""
        return (self.comparison.interval.low > 0) | (self.comparison.interval.high < 0)


def _short(side: ComparedRun, other: ComparedRun) -> str:
    """The last part of the model's name if that tells it from the other."""
    short, beside = (s.record.model.name.rstrip("/").rpartition("/")[2] for s in (side, other))
    return side.record.model.name if short == beside else short


def difference_map(shown: Difference) -> HeadMap:
    """The map: units whose interval includes 0 are faded, the profile is the mean by layer.

    Only for models of the same shape; others have no units in common.
    """
    comparison = shown.comparison
    heads = shown.site == "heads"
    rows = pd.DataFrame(
        [(s, layer, head if heads else None) for s, layer, head in comparison.units],
        columns=["stream", "layer", "head"],
    ).assign(
        site=shown.site,
        value=shown.unit.factor * comparison.difference,
        strong=shown.differing.astype(float),
    )
    panels = []
    for stream, profile in comparison.profiles.items():
        cells = pick(rows, stream=stream)
        values = layers_by_heads(cells)
        panels.append(
            Panel(
                stream,
                values,
                layers_by_heads(cells, "strong") == 1.0,
                _profile(shown, profile, "mean" if heads else shown.site).set_index(values.index),
            )
        )
    return HeadMap(
        feature=shown.feature,
        quantity=shown.unit.quantity,
        panels=panels,
        ranks={},
        evidence="interval",
        level=1 - shown.confidence,
        tested=len(comparison.units),
        passed=int(shown.differing.sum()),
        site=shown.site,
        probe=shown.first.probe,
        method=shown.method,
    )


def print_difference(shown: Difference, console: Console) -> None:
    """Map, units that differ, order of heads, and the profile by depth, as far as they exist."""
    title, subtitle = _title(shown), _subtitle(shown)
    if shown.comparison.units:
        print_head_map(difference_map(shown), console, title=title, subtitle=subtitle)
        for line in (_count(shown), _order(shown)):
            console.print(Text(encodable(line, console)))
    else:
        print_heading(console, title, subtitle)
    several = len(shown.comparison.profiles) > 1
    for stream, profile in shown.comparison.profiles.items():
        what = _average(shown) + (f" of stream {stream}" if several else "")
        layers = sorted({layer for s, layer, _ in shown.comparison.units if s == stream})
        by = "layer" if layers else "relative depth (0 first layer, 1 last)"
        console.print(Text(f"By {by}, {what}:"))
        of_difference = shown.unit.name or "difference"
        header = f"{'layer' if layers else 'depth':>7}{'first':>8}{'second':>8}{of_difference:>9}"
        console.print(Text(header, style="dim"))
        for row in _spaced(len(profile.depth)):
            place = str(layers[row]) if layers else f"{profile.depth[row]:.2f}"
            console.print(Text(f"{place:>7}{_depth_line(shown, profile, row)}"))


def save_difference(shown: Difference, png: Path) -> list[Path]:
    """Draw the difference map, or the profiles by depth of models of different shape.

    Writes a PNG, and an SVG of the same name.
    """
    # matplotlib takes a second to import, and a printed comparison does not need it.
    from probes.reporting.drawing.depths import draw_depths
    from probes.reporting.drawing.figures import save_figure
    from probes.reporting.drawing.maps import draw_map

    title, parts = _title(shown), [_subtitle(shown)]
    if not shown.comparison.units:
        subtitle = " · ".join([*parts, _average(shown)])
        profiles = {
            stream: _profile(shown, profile, "difference").assign(
                first=profile.first, second=profile.second
            )
            for stream, profile in shown.comparison.profiles.items()
        }
        unit = shown.unit
        return save_figure(
            lambda: draw_depths(
                profiles, title=title, subtitle=subtitle, of=unit.measured, quantity=unit.quantity
            ),
            png,
        )
    drawn = difference_map(shown)
    parts.append(f"{drawn.passed} of {drawn.tested} {evidence_label(drawn)}")
    subtitle = " · ".join([*parts, _order(shown)])
    return save_figure(lambda: draw_map(drawn, title=title, subtitle=subtitle), png)


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


def _title(shown: Difference) -> str:
    """Feature, what is taken from what, and what both share."""
    first, second = shown.names
    model = shown.first.record.model.name
    shared = [model] if model == shown.second.record.model.name else []
    if shown.method != PROBE and shown.first.probe == shown.second.probe:
        shared.insert(0, probe_label(shown.first.probe, shown.method))
    return " · ".join(
        [shown.feature, f"{first} − {second}", *shared, shown.first.record.corpus.name]
    )


def _subtitle(shown: Difference) -> str:
    groups = plural(shown.first.record.corpus.group_name)
    unit = shown.unit
    parts = [
        f"{unit.measured} on test, first minus second" + (f", in {unit.name}" * bool(unit.name)),
        *(of_both for of_both in [_of_both(shown), unit.above] if of_both),
        f"paired over {shown.comparison.groups:,} {groups}",
    ]
    if shown.site != "heads":
        parts.insert(0, shown.site.replace("_", " "))
    return " · ".join(parts)


def _of_both(shown: Difference) -> str:
    """Which effects they are, where the method knows several."""
    if shown.subject is None:
        return ""
    parts = [f"{shown.subject.effect} effect"] if has_effects(shown.method) else []
    if shown.subject.positions not in ("", EVERYWHERE):
        parts.append(f"at positions: {shown.subject.positions}")
    return ", ".join(parts)


def _count(shown: Difference) -> str:
    """How many units differ, in which direction, and how many would by chance."""
    units = len(shown.comparison.units)
    what = "heads" if shown.site == "heads" else "layers"
    first, second = shown.names
    up = int((shown.differing & (shown.comparison.difference > 0)).sum())
    down = int(shown.differing.sum()) - up
    return (
        f"{up + down} of {units} {what} differ ({100 * shown.confidence:g}% interval without 0; by "
        f"chance about {units * (1 - shown.confidence):.2g} would): {up} higher in {first}, {down} "
        f"in {second}."
    )


def _order(shown: Difference) -> str:
    """Whether both maps put their units in the same order."""
    rank = shown.comparison.rank
    if shown.comparison.sampled:
        return (
            "Heads of a map were chosen: only those in both maps are compared, and neither their "
            "order nor means by layer."
        )
    if rank is None:
        return "Fewer than three units: no rank correlation."
    if np.isnan(rank.value):
        return "Rank correlation undefined: the units of a map are all alike."
    text = f"Rank correlation {rank.value:.2f} [{rank.low:.2f}, {rank.high:.2f}]"
    if np.isnan(rank.ceiling):
        return f"{text}; noise hides the order of a map, so equal orders could not be seen."
    return f"{text}; with this noise equal orders would reach about {rank.ceiling:.2f}."


def _average(shown: Difference) -> str:
    return "mean of heads" if shown.site == "heads" else shown.site.replace("_", " ")


def _profile(shown: Difference, profile: DepthProfile, name: str) -> pd.DataFrame:
    """By depth the difference under this name and its interval, as they are shown."""
    factor = shown.unit.factor
    columns = {
        name: factor * profile.difference,
        f"{name}_low": factor * profile.interval.low,
        f"{name}_high": factor * profile.interval.high,
    }
    return pd.DataFrame(columns, index=pd.Index(profile.depth, name="depth"))


def _spaced(depths: int) -> Iterable[int]:
    """Rows to print, the first and the last among them."""
    return np.unique(np.linspace(0, depths - 1, min(depths, MOST_DEPTHS)).round().astype(int))


def _depth_line(shown: Difference, profile: DepthProfile, row: int) -> str:
    line = shown.unit.line
    return (
        f"{number(profile.first[row]):>8}{number(profile.second[row]):>8}"
        f"{line(profile.difference[row]):>9} [{line(profile.interval.low[row])}, "
        f"{line(profile.interval.high[row])}]"
    )


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
