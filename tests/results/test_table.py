from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from probes.core.errors import UserError
from probes.results.table import (
    COLUMNS,
    OF_EFFECTS,
    layers_by_heads,
    pick,
    read_results,
    results_table,
    write_results,
)
from tests.reporting.synthetic import CLASSES, heads_of, make_results


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return make_results({"encoder": heads_of(4, 6)}, features=("upos", "tense"), classes=CLASSES)


def test_columns_are_the_contract_first(table: pd.DataFrame) -> None:
    assert tuple(table.columns[: len(COLUMNS)]) == COLUMNS
    assert list(table.columns[len(COLUMNS) :]) == ["p_value", "q_value", "p_familywise"]


def test_a_file_has_columns_of_effects_only_where_a_method_fills_them(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "results.csv"
    write_results(table, path)
    assert path.read_text().split("\n")[0].split(",") == [
        *(name for name in COLUMNS if name not in OF_EFFECTS), "p_value", "q_value", "p_familywise",
    ]  # fmt: skip
    effects = table.assign(effect="total")
    write_results(effects, path)
    again = read_results(path)
    assert set(again["effect"]) == {"total"} and set(again["positions"]) == {""}


def test_csv_round_trip(table: pd.DataFrame, tmp_path: Path) -> None:
    write_results(table, tmp_path / "results.csv")
    again = read_results(tmp_path / "results.csv")
    pd.testing.assert_frame_equal(again, table, rtol=1e-7)
    assert not list(tmp_path.glob("*.new"))


def test_names_that_look_missing_survive(tmp_path: Path) -> None:
    names = ["NA", "null", "nan", "a,b", 'q"t', "line\nbreak", ""]
    table = results_table([{"feature": name, "value": 0.5} for name in names])
    write_results(table, tmp_path / "results.csv")
    assert read_results(tmp_path / "results.csv")["feature"].tolist() == names


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "not a table"),
        ("feature,value\nupos,0.5\n", "without column site"),
        (",".join(COLUMNS) + "\n" + "x," * 4 + "one,,test,accuracy,.5,,,3\n", "not a table"),
        ("\0\0\0", "cut short"),
        ("\0\0\0\n", "not a table"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "results.csv").write_text(content)
    with pytest.raises(UserError, match=says):
        read_results(tmp_path / "results.csv")
    with pytest.raises(UserError, match="no such file"):
        read_results(tmp_path / "other.csv")


def test_grid_equals_a_loop_over_the_rows() -> None:
    table = make_results({"decoder": [3, 1, 4]})
    rows = pick(table, site="heads", probe="linear", split="test", metric="accuracy")
    grid = layers_by_heads(rows)
    assert grid.shape == (3, 4)
    for layer in range(3):
        for head in range(4):
            found = rows[(rows["layer"] == layer) & (rows["head"] == head)]["value"]
            if found.empty:
                assert np.isnan(grid.to_numpy()[layer, head])
            else:
                assert grid.loc[layer, head] == found.item()
    assert int(grid.notna().sum().sum()) == 8


def test_grid_of_a_subset_of_layers_keeps_their_numbers() -> None:
    rows = results_table(
        [{"site": "heads", "layer": layer, "head": 5, "value": layer} for layer in (11, 3, 7)]
    )
    grid = layers_by_heads(rows)
    np.testing.assert_array_equal(grid.index, [3, 7, 11])
    np.testing.assert_array_equal(grid.columns, [5])


def test_whole_layer_sites_have_one_column(table: pd.DataFrame) -> None:
    rows = pick(table, feature="upos", site="residual", split="test", metric="accuracy")
    assert layers_by_heads(rows).columns.tolist() == ["residual"]


def test_tables_from_before_the_column_method(table: pd.DataFrame, tmp_path: Path) -> None:
    table.drop(columns="method").to_csv(tmp_path / "results.csv", index=False)
    again = read_results(tmp_path / "results.csv")
    assert list(again.columns) == list(table.columns) and set(again["method"]) == {"probe"}
