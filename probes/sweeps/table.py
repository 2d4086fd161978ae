"""All results of a sweep in one table, with the swept keys of each job: ``sweep.csv``."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from probes.results.table import COLUMNS
from probes.sweeps.jobs import Job, swept_keys


def sweep_table(jobs: Sequence[Job]) -> pd.DataFrame:
    """The results of all jobs: ``job``, the swept keys, ``status``, ``error``, then the results.

    A job without results has one row with its status and error. A swept key with the name of a
    column of the results (``probe``) is called ``override.<key>``.
    """
    keys = swept_keys(jobs)
    tables = []
    for job in jobs:
        tables_of_job = (table for table in (job.results, job.atlas) if table is not None)
        table = next(tables_of_job, pd.DataFrame([{}], columns=COLUMNS)).astype(object).copy()
        about = {"job": job.name, **{key: job.overrides.get(key, "") for key in keys}}
        about |= {"status": job.status, "error": job.error or ""}
        for position, (name, value) in enumerate(about.items()):
            column = name if name not in table.columns else f"override.{name}"
            table.insert(position, column, value)
        tables.append(table)
    if not tables:
        return pd.DataFrame(columns=["job", "status", "error", *COLUMNS])
    return pd.concat(tables, ignore_index=True)
