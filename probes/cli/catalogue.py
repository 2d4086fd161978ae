"""The command ``catalogue``: what attention heads are known to do."""

from __future__ import annotations

import argparse
import json

from rich.console import Console

from probes.catalogue import load_catalogue
from probes.catalogue.table import print_catalogue

DESCRIPTION = "Print what heads are known to do, and the corpus and feature that decode it."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("--stage", metavar="S", help="only this one: KR, ICI, LR or EP")
    parser.add_argument(
        "--encoder", action="store_true", help="only what an encoder can be probed for"
    )
    parser.add_argument("--json", action="store_true", help="print JSON for programs instead")


def run(given: argparse.Namespace) -> None:
    """Print the entries that were asked for.

    Raises:
        UserError: there is no such stage.
    """
    entries = load_catalogue(stage=given.stage, encoder=given.encoder)
    if given.json:
        listed = [{**entry.to_json(), "overrides": entry.overrides} for entry in entries]
        print(json.dumps({"schema": 1, "entries": listed}, indent=1, ensure_ascii=False))
        return
    print_catalogue(entries, Console(highlight=False))
