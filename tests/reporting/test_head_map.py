from __future__ import annotations

import pandas as pd
import pytest

from probes.core.errors import UserError
from probes.reporting.head_map import head_map
from probes.results.feature_table import FeatureTable
from probes.results.table import pick
from tests.reporting.synthetic import CLASSES, heads_of, make_feature, make_results


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return make_results({"encoder": heads_of(4, 6)}, features=("upos", "tense"), classes=CLASSES)


def test_map_counts_what_is_significant(table: pd.DataFrame) -> None:
    drawn = head_map(FeatureTable.of(table, "upos"))
    accuracy = pick(table, feature="upos", site="heads", probe="linear", metric="accuracy",
                    split="test")  # fmt: skip
    assert drawn.evidence == "q_value" and drawn.tested == 24
    assert drawn.passed == int((accuracy["q_value"] <= 0.05).sum())
    uncorrected = table.drop(columns=["q_value", "p_familywise"])
    assert head_map(FeatureTable.of(uncorrected, "upos")).evidence == "p_value"
    assert head_map(make_feature({"d": [2]}, significance=False)).evidence is None


def test_profile_picks_the_best_head_on_validation(table: pd.DataFrame) -> None:
    profile = head_map(FeatureTable.of(table, "upos")).panels[0].profile
    for layer in range(4):
        rows = pick(table, feature="upos", site="heads", probe="linear", metric="accuracy",
                    layer=layer).set_index(["split", "head"])["value"]  # fmt: skip
        chosen = rows["validation"].idxmax()
        assert profile.loc[layer, "best"] == rows["test"][chosen]
        assert profile.loc[layer, "mean"] == pytest.approx(rows["test"].mean())
    assert {"all_heads", "residual", "random_init", "residual_low"} <= set(profile.columns)


def test_unknown_quantity_names_the_known_ones(table: pd.DataFrame) -> None:
    with pytest.raises(UserError, match=r"no 'acuracy' on test; allowed: accuracy, gain_majority"):
        head_map(FeatureTable.of(table, "upos"), "acuracy")
