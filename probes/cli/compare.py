"""The command ``compare``: the difference of two finished runs, or what two atlases share."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = (
    "The difference of two maps, with intervals: first run minus second, of the same corpus and "
    "split. Linear against MLP, one checkpoint against another; or one run twice with "
    "--other-probe random_init: trained against random weights. With --method ablation: the "
    "effects of two runs, in the units of what they are measured on. Of two atlases: which "
    "functions both models have, and at which relative depth."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "first", metavar="RUN", type=Path, help="directory of a finished run or atlas"
    )
    parser.add_argument("second", metavar="RUN", type=Path, help="what is subtracted from it")
    parser.add_argument("--feature", metavar="F", help="only this one; default: all in common")
    parser.add_argument("--site", metavar="S", help="heads (default), residual, all_heads, ...")
    parser.add_argument(
        "--method", metavar="M", help="ablation, patching, ...; default: probe where it was run"
    )
    parser.add_argument(
        "--probe", metavar="P",
        help="linear, mlp, random_init, ... of the first; of another method mean, zero, noise, ...",
    )  # fmt: skip
    parser.add_argument("--other-probe", metavar="P", help="of the second; default: its own")
    parser.add_argument("--effect", metavar="E", help="total (default) or direct")
    parser.add_argument("--positions", metavar="P", help="all or read: where heads were edited")
    parser.add_argument(
        "--confidence", metavar="C", type=_share, default=0.95, help="of intervals; default 0.95"
    )
    parser.add_argument(
        "--png", metavar="FILE", type=Path, help="draw here (FILE.FEATURE for several), and an SVG"
    )
    parser.add_argument("--json", action="store_true", help="print JSON for programs instead")


def run(given: argparse.Namespace) -> None:
    """Print, draw or write out what was asked for.

    Raises:
        UserError: no finished runs or atlases, or ones that cannot be compared.
    """
    # Late: pandas, torch and matplotlib, which --help should not wait for.
    from probes.cli.compare_atlases import compare_atlases
    from probes.cli.compare_runs import compare_runs
    from probes.results.atlas import is_atlas

    if is_atlas(given.first) or is_atlas(given.second):
        compare_atlases(given)
    else:
        compare_runs(given)


def _share(text: str) -> float:
    """A number between 0 and 1, both excluded."""
    value = float(text)
    if not 0.0 < value < 1.0:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value
