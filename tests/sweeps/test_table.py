"""``sweep.csv``: the results of all jobs with the swept keys."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from probes.sweeps.jobs import read_sweep
from probes.sweeps.table import write_table
from tests.reporting.synthetic import make_results
from tests.sweeps.written import HOSTILE, STREAMS, add_job, finish


def test_table_has_all_results_with_the_swept_keys(sweep: Path) -> None:
    write_table(read_sweep(sweep), sweep / "sweep.csv")
    table = pd.read_csv(sweep / "sweep.csv", dtype={"job": str}, low_memory=False)
    assert table.groupby("job").size().loc[["2", "3", "4"]].tolist() == [1, 1, 1]
    own = make_results(STREAMS, features=("upos",), probe="mlp")
    part = table[table["job"] == "1"]
    assert len(part) == len(own)
    assert set(part["features"]) == {"[upos]"} and set(part["override.probe"]) == {"mlp"}
    pd.testing.assert_series_equal(
        part["value"].astype(float).reset_index(drop=True), own["value"], rtol=1e-7
    )
    assert table.loc[table["job"] == "2", "error"].item() == f"no {HOSTILE}"


def test_numbers_of_layers_heads_and_rows_stay_whole(sweep: Path) -> None:
    write_table(read_sweep(sweep), sweep / "sweep.csv")
    with (sweep / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for column in ("layer", "head", "n"):
        cells = {row[column] for row in rows}
        assert "" in cells and all(cell.isdigit() for cell in cells - {""})


def test_swept_lists_are_readable(tmp_path: Path) -> None:
    for number, features in enumerate((r"[upos,deprel]", "['a b',tense]", r"a\,b")):
        finish(add_job(tmp_path, number, [f"features={features}"]))
    write_table(read_sweep(tmp_path), tmp_path / "sweep.csv")
    table = pd.read_csv(tmp_path / "sweep.csv")
    assert list(dict.fromkeys(table["features"])) == ["[upos, deprel]", "[a b, tense]", "a,b"]
