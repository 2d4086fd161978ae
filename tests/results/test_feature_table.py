from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from probes.core.errors import UserError
from probes.results.feature_table import FeatureTable
from probes.results.subject import Subject
from probes.results.table import results_table
from tests.reporting.synthetic import CLASSES, MAJORITY, heads_of, make_results


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return make_results({"encoder": heads_of(4, 6)}, features=("upos", "tense"), classes=CLASSES)


def test_top_is_chosen_on_validation_and_reported_on_test() -> None:
    rows = []
    for head, (validation, test) in enumerate([(0.5, 0.9), (0.8, 0.6), (0.7, 0.7), (0.8, 0.1)]):
        for split, value in (("validation", validation), ("test", test)):
            rows.append({"feature": "f", "site": "heads", "probe": "linear", "stream": "decoder",
                         "layer": 0, "head": head, "split": split, "metric": "accuracy",
                         "value": value, "q_value": 0.01 * head})  # fmt: skip
    top = FeatureTable.of(results_table(rows), "f").top(3)
    assert top["head"].tolist() == [1, 3, 2]  # a tie goes to the lower head
    assert top["test"].tolist() == [0.6, 0.1, 0.7]
    assert top["q_value"].tolist() == [0.01, 0.03, 0.02]


def test_top_without_validation_says_so(table: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="no validation values"):
        FeatureTable.of(table[table["split"] == "test"], "upos").top()


def test_unknown_feature_names_the_known_ones(table: pd.DataFrame) -> None:
    with pytest.raises(UserError, match=r"'upso'.*allowed: upos, tense.*Try 'upos'"):
        FeatureTable.of(table, "upso")


def test_baselines_never_pass_for_the_run(table: pd.DataFrame) -> None:
    shuffled = table.sample(frac=1, random_state=0)
    own = FeatureTable.of(shuffled, "upos")
    assert (own.site, own.probe) == ("heads", "linear")
    assert own.baseline() == pytest.approx(MAJORITY)
    assert own.baseline("bag_of_words") is None


def test_a_run_on_whole_layers_has_that_site() -> None:
    rows = [{"feature": "f", "site": "corpus", "probe": "majority"},
            {"feature": "f", "site": "mlp_output", "probe": "mlp"}]  # fmt: skip
    assert Subject.of(results_table(rows)) == Subject("mlp_output", "probe", "mlp")


def test_quantities_follow_what_is_measured(table: pd.DataFrame) -> None:
    names = FeatureTable.of(table, "upos").names
    assert names[:3] == ["accuracy", "gain_majority", "selectivity"]
    assert {"macro_f1", "codelength_bits", "q_value", "p_familywise"} <= set(names)
    assert not [name for name in names if name.startswith("recall:")]
    plain = make_results({"d": [2, 2]}, control=False, significance=False, codelength=False)
    assert FeatureTable.of(plain, "upos").names == ["accuracy", "gain_majority", "macro_f1"]


def test_gain_is_accuracy_over_majority(table: pd.DataFrame) -> None:
    own = FeatureTable.of(table, "upos")
    accuracy, gain = own.values("accuracy"), own.values("gain")
    np.testing.assert_allclose(gain["value"], accuracy["value"] - MAJORITY)
    np.testing.assert_allclose(gain["ci_high"], accuracy["ci_high"] - MAJORITY)


def test_codelength_is_found_on_the_training_rows(table: pd.DataFrame) -> None:
    moved = table.copy()
    moved.loc[moved["metric"] == "codelength_bits", "split"] = "train"
    own = FeatureTable.of(moved, "upos")
    assert "codelength_bits" in own.names
    np.testing.assert_array_equal(
        own.values("codelength_bits")["value"],
        FeatureTable.of(table, "upos").values("codelength_bits")["value"],
    )
    assert own.quantity("codelength_bits").lower_is_better


def test_anchors(table: pd.DataFrame) -> None:
    own = FeatureTable.of(table, "upos")
    anchors = {name: own.quantity(name, 6) for name in
               ("accuracy", "gain", "auroc", "balanced_accuracy", "q_value")}  # fmt: skip
    assert anchors["accuracy"].anchor == pytest.approx(MAJORITY)
    assert anchors["accuracy"].anchor_label == "majority"
    assert anchors["gain"].anchor == 0
    assert anchors["auroc"].anchor == 0.5
    assert anchors["balanced_accuracy"].anchor == pytest.approx(1 / 6)
    assert anchors["q_value"].probability


def test_rows_of_another_method_never_become_the_main_probe(table: pd.DataFrame) -> None:
    named = {"feature": "upos", "method": "ablation", "probe": "mean"}
    other = [{**named, "site": "residual"}, {**named, "site": "heads"}]
    both = pd.concat([results_table(other), table], ignore_index=True)
    assert Subject.of(both) == Subject("heads", "probe", "linear")
    assert Subject.of(both, method="ablation") == Subject("heads", "ablation", "mean")
    own = FeatureTable.of(both, "upos")
    assert len(own.values("accuracy")) == len(FeatureTable.of(table, "upos").values("accuracy"))
