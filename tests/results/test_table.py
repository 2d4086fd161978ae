from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from probes.core.errors import UserError
from probes.reporting.head_map import head_map
from probes.results.quantities import quantities, quantity, values
from probes.results.table import (
    COLUMNS,
    corpus_baseline,
    layers_by_heads,
    main_probe,
    main_site,
    pick,
    read_results,
    results_table,
    top_heads,
    write_results,
)
from tests.reporting.synthetic import CLASSES, MAJORITY, heads_of, make_results


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return make_results({"encoder": heads_of(4, 6)}, features=("upos", "tense"), classes=CLASSES)


def test_columns_are_the_contract_first(table: pd.DataFrame) -> None:
    assert tuple(table.columns[:13]) == COLUMNS
    assert list(table.columns[13:]) == ["p_value", "q_value", "p_familywise"]


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
        ("\0\0\0", "not a table"),
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
                assert np.isnan(grid.loc[layer, head])
            else:
                assert grid.loc[layer, head] == found.item()
    assert int(grid.notna().sum().sum()) == 8


def test_grid_of_a_subset_of_layers_keeps_their_numbers() -> None:
    rows = results_table(
        [{"site": "heads", "layer": layer, "head": 5, "value": layer} for layer in (11, 3, 7)]
    )
    grid = layers_by_heads(rows)
    assert grid.index.tolist() == [3, 7, 11] and grid.columns.tolist() == [5]


def test_whole_layer_sites_have_one_column(table: pd.DataFrame) -> None:
    rows = pick(table, feature="upos", site="residual", split="test", metric="accuracy")
    assert layers_by_heads(rows).columns.tolist() == ["residual"]


def test_top_is_chosen_on_validation_and_reported_on_test() -> None:
    rows = []
    for head, (validation, test) in enumerate([(0.5, 0.9), (0.8, 0.6), (0.7, 0.7), (0.8, 0.1)]):
        for split, value in (("validation", validation), ("test", test)):
            rows.append({"feature": "f", "site": "heads", "probe": "linear", "stream": "decoder",
                         "layer": 0, "head": head, "split": split, "metric": "accuracy",
                         "value": value, "q_value": 0.01 * head})  # fmt: skip
    top = top_heads(results_table(rows), "f", 3)
    assert top["head"].tolist() == [1, 3, 2]  # a tie goes to the lower head
    assert top["test"].tolist() == [0.6, 0.1, 0.7]
    assert top["q_value"].tolist() == [0.01, 0.03, 0.02]


def test_top_without_validation_says_so(table: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="no validation values"):
        top_heads(table[table["split"] == "test"], "upos")


def test_unknown_feature_names_the_known_ones(table: pd.DataFrame) -> None:
    with pytest.raises(UserError, match=r"'upso'.*allowed: upos, tense.*Try 'upos'"):
        top_heads(table, "upso")


def test_baselines_never_pass_for_the_run(table: pd.DataFrame) -> None:
    shuffled = table.sample(frac=1, random_state=0)
    assert main_site(shuffled) == "heads" and main_probe(shuffled, "heads") == "linear"
    assert corpus_baseline(shuffled, "upos") == pytest.approx(MAJORITY)
    assert corpus_baseline(shuffled, "upos", "bag_of_words") is None


def test_a_run_on_whole_layers_has_that_site() -> None:
    rows = [{"feature": "f", "site": "corpus", "probe": "majority"},
            {"feature": "f", "site": "mlp_output", "probe": "mlp"}]  # fmt: skip
    assert main_site(results_table(rows)) == "mlp_output"
    assert main_probe(results_table(rows), "mlp_output") == "mlp"


def test_quantities_follow_what_is_measured(table: pd.DataFrame) -> None:
    names = [q.name for q in quantities(table, "upos")]
    assert names[:3] == ["accuracy", "gain", "selectivity"]
    assert {"macro_f1", "codelength_bits", "q_value", "p_familywise"} <= set(names)
    assert not [name for name in names if name.startswith("recall:")]
    plain = make_results({"d": [2, 2]}, control=False, significance=False, codelength=False)
    assert [q.name for q in quantities(plain, "upos")] == ["accuracy", "gain", "macro_f1"]


def test_gain_is_accuracy_over_majority(table: pd.DataFrame) -> None:
    accuracy, gain = values(table, "upos", "accuracy"), values(table, "upos", "gain")
    np.testing.assert_allclose(gain["value"], accuracy["value"] - MAJORITY)
    np.testing.assert_allclose(gain["ci_high"], accuracy["ci_high"] - MAJORITY)
    measured = table.replace({"metric": {"macro_f1": "gain_majority"}})
    assert "gain" not in [q.name for q in quantities(measured, "upos")]
    np.testing.assert_array_equal(
        values(measured, "upos", "gain")["value"], values(table, "upos", "macro_f1")["value"]
    )


def test_codelength_is_found_on_the_training_rows(table: pd.DataFrame) -> None:
    moved = table.copy()
    moved.loc[moved["metric"] == "codelength_bits", "split"] = "train"
    assert "codelength_bits" in [q.name for q in quantities(moved, "upos")]
    np.testing.assert_array_equal(
        values(moved, "upos", "codelength_bits")["value"],
        values(table, "upos", "codelength_bits")["value"],
    )
    assert quantity(moved, "upos", "codelength_bits").lower_is_better


def test_anchors(table: pd.DataFrame) -> None:
    anchors = {name: quantity(table, "upos", name, 6) for name in
               ("accuracy", "gain", "auroc", "balanced_accuracy", "q_value")}  # fmt: skip
    assert anchors["accuracy"].anchor == pytest.approx(MAJORITY)
    assert anchors["accuracy"].anchor_label == "majority"
    assert anchors["gain"].anchor == 0
    assert anchors["auroc"].anchor == 0.5
    assert anchors["balanced_accuracy"].anchor == pytest.approx(1 / 6)
    assert anchors["q_value"].probability


def test_map_counts_what_is_significant(table: pd.DataFrame) -> None:
    drawn = head_map(table, "upos")
    accuracy = pick(table, feature="upos", site="heads", probe="linear", metric="accuracy",
                    split="test")  # fmt: skip
    assert drawn.evidence == "q_value" and drawn.tested == 24
    assert drawn.passed == int((accuracy["q_value"] <= 0.05).sum())
    uncorrected = table.drop(columns=["q_value", "p_familywise"])
    assert head_map(uncorrected, "upos").evidence == "p_value"
    assert head_map(make_results({"d": [2]}, significance=False), "upos").evidence is None


def test_profile_picks_the_best_head_on_validation(table: pd.DataFrame) -> None:
    profile = head_map(table, "upos").panels[0].profile
    for layer in range(4):
        rows = pick(table, feature="upos", site="heads", probe="linear", metric="accuracy",
                    layer=layer).set_index(["split", "head"])["value"]  # fmt: skip
        chosen = rows["validation"].idxmax()
        assert profile.loc[layer, "best"] == rows["test"][chosen]
        assert profile.loc[layer, "mean"] == pytest.approx(rows["test"].mean())
    assert {"all_heads", "residual", "random_init", "residual_low"} <= set(profile.columns)


def test_unknown_quantity_names_the_known_ones(table: pd.DataFrame) -> None:
    with pytest.raises(UserError, match=r"no 'acuracy' on test; allowed: accuracy, gain"):
        head_map(table, "upos", "acuracy")


def test_tables_from_before_the_column_method(table: pd.DataFrame, tmp_path: Path) -> None:
    table.drop(columns="method").to_csv(tmp_path / "results.csv", index=False)
    again = read_results(tmp_path / "results.csv")
    assert list(again.columns) == list(table.columns) and set(again["method"]) == {"probe"}


def test_rows_of_another_method_never_become_the_main_probe(table: pd.DataFrame) -> None:
    named = {"feature": "upos", "method": "ablation", "probe": "mean"}
    other = [{**named, "site": "residual"}, {**named, "site": "heads"}]
    both = pd.concat([results_table(other), table], ignore_index=True)
    assert (main_site(both), main_probe(both, "heads")) == ("heads", "linear")
    assert main_probe(both, "heads", "ablation") == "mean"
