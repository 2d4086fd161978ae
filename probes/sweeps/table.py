"""All results of a sweep in one table, with the swept keys of each job: ``sweep.csv``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from probes.core.files import atomic_path
from probes.results.table import COLUMNS, results_table
from probes.sweeps.jobs import Job, swept_keys

FIRST = ("status", "error")
"""Columns between the swept keys and the results."""


def write_table(jobs: Sequence[Job], path: Path) -> None:
    """Write the results of all jobs: ``job``, the swept keys, ``status``, ``error``, the results.

    A job without results has one row with its status and error. A swept key with the name of a
    column of the results (``probe``) is called ``override.<key>``. Tables are written one after
    another, so that thousands of them take no more memory than one.
    """
    keys = swept_keys(jobs)
    measured = dict.fromkeys([*COLUMNS, *(c for job in jobs for c in _results(job).columns)])
    names = {key: f"override.{key}" if key in measured else key for key in keys}
    columns = ["job", *names.values(), *FIRST, *measured]
    # Shared: multiruns that have one directory, as those of atlases do, may end at the same time.
    with (
        atomic_path(path, shared=True) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        pd.DataFrame(columns=columns).to_csv(file, index=False)
        for job in jobs:
            about = {names[key]: job.overrides.get(key, "") for key in keys}
            about |= {"job": job.name, "status": job.status, "error": job.remark}
            table = _results(job).assign(**about).reindex(columns=columns)
            table.to_csv(file, index=False, header=False, float_format="%.8g")


def _results(job: Job) -> pd.DataFrame:
    """What a job has measured; one empty row where it has not."""
    table = job.results if job.results is not None else job.atlas
    return results_table([{"method": None}]).assign(method="") if table is None else table
