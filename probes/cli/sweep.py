"""The command ``sweep``: the table and the page of a sweep, made again from its jobs."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = (
    "Write sweep.csv and sweep.html again from the jobs that are there: of a sweep that was "
    "interrupted or is still running, or after jobs were repeated or removed."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("directory", metavar="SWEEP", type=Path, help="directory of the sweep")


def run(given: argparse.Namespace) -> None:
    """Write both files, and print how many jobs they hold.

    Raises:
        UserError: there is no such directory.
    """
    from probes.sweeps.report import write_sweep_report  # late: pandas, matplotlib

    report = write_sweep_report(given.directory)
    in_use = f", {len(report.in_use)} in use" if report.in_use else ""
    print(
        f"{len(report.finished)} of {len(report.jobs)} jobs finished{in_use}; sweep: {report.page}"
    )
