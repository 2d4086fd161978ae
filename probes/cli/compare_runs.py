"""The difference of two runs, feature by feature: printed, drawn or as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from probes.analysis import runs
from probes.analysis.comparison import common_features, compared_tables, require_method
from probes.analysis.runs import Run
from probes.cli.pictures import png_path, writing_pictures
from probes.core.errors import UserError, closest
from probes.reporting.console import new_console
from probes.reporting.difference import ComparedRun, Difference
from probes.reporting.difference_json import difference_json
from probes.reporting.difference_shown import print_difference, save_difference
from probes.reporting.difference_unit import difference_unit
from probes.reporting.drawing.file_names import file_name
from probes.results.subject import Asked
from probes.results.vocabulary.methods import PROBE


def compare_runs(given: argparse.Namespace) -> None:
    """Print, draw or write out the differences of all features in common."""
    first, second = runs.load_run(given.first), runs.load_run(given.second)
    asked = asked_of(given)
    require_method(first, second, given.method)
    method = first.subject(**asked).method
    features = wanted_features(first, second, given.feature, method)
    shown = [_difference(first, second, feature, given, asked) for feature in features]
    pictures = _draw(shown, given.png) if given.png else []
    if given.json:
        content = {
            "schema": 1,
            "confidence": given.confidence,
            "features": [difference_json(difference) for difference in shown],
            "pictures": [str(path) for path in pictures],
        }
        print(json.dumps(content, indent=1, allow_nan=False))
        return
    console = new_console()
    for difference in shown:
        print_difference(difference, console)
    for path in pictures:
        console.print(f"picture: {path}", markup=False, soft_wrap=True)


def asked_of(given: argparse.Namespace) -> Asked:
    """Which map of the first run is asked for."""
    return {
        "site": given.site, "method": given.method, "probe": given.probe,
        "effect": given.effect, "positions": given.positions,
    }  # fmt: skip


def wanted_features(first: Run, second: Run, asked: str | None, method: str) -> list[str]:
    """The features that both runs have by a method, in the order of the first; or the one asked
    for."""
    names = common_features(first, second, method)
    of_effects = f" with effects by {method}" if method != PROBE else ""
    if not names:
        raise UserError(
            f"the runs have no feature in common{of_effects}: "
            f"{', '.join(first.features)} against {', '.join(second.features)}",
            fix=f"methods=[{method}] in both runs" if of_effects else "",
        )
    if asked is None:
        return names
    if asked not in names:
        raise UserError(
            f"--feature {asked}: not a feature of both runs{of_effects}",
            allowed=", ".join(names),
            fix=closest(asked, names, "--feature {}"),
        )
    return [asked]


def _difference(
    first: Run, second: Run, feature: str, given: argparse.Namespace, asked: Asked
) -> Difference:
    mine, theirs = compared_tables(first, second, feature, other_probe=given.other_probe, **asked)
    comparison = first.compare(
        second, feature, other_probe=given.other_probe, confidence=given.confidence, **asked
    )
    return Difference(
        feature=feature,
        site=mine.site,
        first=ComparedRun(given.first, first.record, mine.probe),
        second=ComparedRun(given.second, second.record, theirs.probe),
        confidence=given.confidence,
        comparison=comparison,
        unit=difference_unit(mine),
        subject=None if mine.method == PROBE else mine.subject,
    )


def _draw(shown: Sequence[Difference], png: Path) -> list[Path]:
    stem = png_path(png).name.removesuffix(".png")
    names = [f"{stem}.png"]
    if len(shown) > 1:
        features = [difference.feature for difference in shown]
        names = [f"{stem}.{file_name(feature, features)}.png" for feature in features]
    with writing_pictures(png):
        return [
            path
            for difference, name in zip(shown, names, strict=True)
            for path in save_difference(difference, png.parent / name)
        ]
