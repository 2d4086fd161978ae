"""``sweep.csv``: the results of all jobs with the swept keys."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from probes.sweeps.jobs import read_sweep
from probes.sweeps.table import sweep_table
from tests.reporting.synthetic import make_results
from tests.sweeps.written import HOSTILE, STREAMS


def test_table_has_all_results_with_the_swept_keys(sweep: Path) -> None:
    table = sweep_table(read_sweep(sweep))
    assert table.groupby("job").size().loc[["2", "3", "4"]].tolist() == [1, 1, 1]
    own = make_results(STREAMS, features=("upos",), probe="mlp")
    part = table[table["job"] == "1"]
    assert len(part) == len(own)
    assert set(part["features"]) == {"[upos]"} and set(part["override.probe"]) == {"mlp"}
    pd.testing.assert_series_equal(
        part["value"].astype(float).reset_index(drop=True), own["value"], rtol=1e-7
    )
    assert table.loc[table["job"] == "2", "error"].item() == f"no {HOSTILE}"
