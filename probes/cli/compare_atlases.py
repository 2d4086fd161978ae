"""Which functions two models share, by relative depth: printed, drawn or as JSON."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from probes.atlas.transfer import to_json, transfers
from probes.atlas.transfer_figure import print_transfers, save_transfers
from probes.cli.pictures import png_path, writing_pictures
from probes.core.errors import UserError
from probes.reporting.console import new_console
from probes.results.atlas import is_atlas, load_atlas
from probes.results.record import is_finished


def compare_atlases(given: argparse.Namespace) -> None:
    """Print, draw or write out which functions two models share by relative depth."""
    for directory in (given.first, given.second):
        if not is_atlas(directory) and is_finished(directory):
            raise UserError(
                f"{directory} is a run, the other one an atlas",
                allowed="two runs, or two atlases",
                fix="one of the runs below corpora/ of the atlas",
            )
    for name in ("site", "probe", "other_probe"):
        if getattr(given, name) is not None:
            option = name.replace("_", "-")
            raise UserError(
                f"--{option}: atlases have one probe for each head", fix=f"no --{option}"
            )
    first, second = load_atlas(given.first), load_atlas(given.second)
    shared = transfers(first, second, given.feature)
    pictures: list[Path] = []
    if given.png:
        png = png_path(given.png)
        with writing_pictures(given.png):
            pictures = save_transfers(shared, first, second, png)
    if given.json:
        content = to_json(shared, first, second) | {"pictures": [str(path) for path in pictures]}
        print(json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False))
        return
    console = new_console()
    print_transfers(shared, first, second, console)
    for path in pictures:
        console.print(f"picture: {path}", markup=False, soft_wrap=True)
