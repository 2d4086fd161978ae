"""The difference of two runs, feature by feature: printed, drawn or as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from probes.analysis import runs
from probes.analysis.runs import Run
from probes.cli.pictures import png_path, writing_pictures
from probes.core.errors import UserError, closest
from probes.reporting.console import new_console
from probes.reporting.difference import (
    ComparedRun,
    Difference,
    difference_json,
    print_difference,
    save_difference,
)
from probes.reporting.drawing.maps import file_name


def compare_runs(given: argparse.Namespace) -> None:
    """Print, draw or write out the differences of all features in common."""
    first, second = runs.load_run(given.first), runs.load_run(given.second)
    features = common_features(first, second, given.feature)
    shown = [_difference(first, second, feature, given) for feature in features]
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


def common_features(first: Run, second: Run, asked: str | None) -> list[str]:
    """The features of both runs, in the order of the first; or the one that was asked for."""
    names = [name for name in first.features if name in second.features]
    if not names:
        raise UserError(
            "the runs have no feature in common: "
            f"{', '.join(first.features)} against {', '.join(second.features)}"
        )
    if asked is None:
        return names
    if asked not in names:
        raise UserError(
            f"--feature {asked}: not a feature of both runs",
            allowed=", ".join(names),
            fix=closest(asked, names, "--feature {}"),
        )
    return [asked]


def _difference(first: Run, second: Run, feature: str, given: argparse.Namespace) -> Difference:
    subject = first.subject(site=given.site, probe=given.probe)
    site, probe = subject.site, subject.probe
    other = second.subject(site=site, probe=given.other_probe or given.probe).probe
    comparison = first.compare(
        second, feature, site=site, probe=probe, other_probe=other, confidence=given.confidence
    )
    return Difference(
        feature=feature,
        site=site,
        first=ComparedRun(given.first, first.record, probe),
        second=ComparedRun(given.second, second.record, other),
        confidence=given.confidence,
        comparison=comparison,
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
