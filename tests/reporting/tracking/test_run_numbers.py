"""A run in a few numbers, and its tables."""

from __future__ import annotations

from probes.reporting.tracking.run_numbers import run_numbers
from probes.reporting.tracking.tables import agreement_table, heads_table
from probes.results.feature_table import FeatureTable
from probes.results.objective import objective_of
from tests.reporting.synthetic import make_results
from tests.reporting.tracking.conftest import RECORD, TABLE


def test_summary_numbers() -> None:
    numbers, best = run_numbers(TABLE, RECORD), FeatureTable.of(TABLE, "upos").top(1).iloc[0]
    assert numbers["upos/best_layer"] == best["layer"]
    assert numbers["upos/best_head"] == best["head"]
    assert numbers["upos/test_accuracy"] == best["test"]
    assert {"upos/majority_test_accuracy", "upos/residual_stream_test_accuracy",
            "time/fit_seconds"} <= set(numbers)  # fmt: skip
    assert all(isinstance(value, float) for value in numbers.values())


def test_what_is_searched_is_measured_on_validation() -> None:
    table = make_results({"d": [2, 1, 3]}, features=("a", "b"))
    numbers = run_numbers(table, RECORD)
    found = [numbers[f"{feature}/validation_accuracy"] for feature in "ab"]
    assert sum(found) / 2 == objective_of(table)
    for name in numbers:
        assert "test_" in name or "accuracy" not in name or "/validation_" in name, name


def test_head_table_has_a_row_for_each_head() -> None:
    table = make_results({"d": [2, 1, 3]}, features=("a", "b"))
    heads = heads_table(table)
    assert len(heads) == 12
    assert heads[["feature", "layer", "head"]].drop_duplicates().shape[0] == 12
    row = heads[(heads["feature"] == "b") & (heads["layer"] == 2)].iloc[2]
    rows = table[(table["feature"] == "b") & (table["layer"] == 2) & (table["head"] == 2)]
    rows = rows[rows["probe"] == "linear"].set_index(["split", "metric"])
    assert row["validation_accuracy"] == rows.loc[("validation", "accuracy"), "value"]
    assert row["selectivity"] == rows.loc[("test", "selectivity"), "value"]
    assert row["q_value"] == rows.loc[("test", "accuracy"), "q_value"]


def test_one_method_agrees_with_none() -> None:
    assert agreement_table(TABLE, []).empty
