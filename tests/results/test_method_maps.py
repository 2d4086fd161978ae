"""Maps of a feature by each method, and the heads that each of them names."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from probes.core.errors import UserError
from probes.results.method_maps import (
    answer_feature,
    feature_maps,
    method_maps,
    named_heads,
    of_method,
    own_maps,
)
from probes.results.table import results_table
from tests.reporting.synthetic_effects import ANSWER, SyntheticRun, make_run

SHAPE = (6,) * 8


@pytest.fixture(scope="module")
def run() -> SyntheticRun:
    return make_run(SHAPE)


def test_every_map_is_listed_once_probes_first_and_controls_never(run: SyntheticRun) -> None:
    labels = [own.subject.label for own in own_maps(run.table, ANSWER)]
    assert labels == [
        "linear probe", "mean ablation, total effect", "mean ablation, direct effect",
        "denoising patching, total effect", "attribution of mean ablation",
    ]  # fmt: skip
    own = feature_maps(run.table, ANSWER)
    assert [one.subject.label for one in own] == labels


def test_a_feature_without_effects_is_set_beside_those_of_the_answer(run: SyntheticRun) -> None:
    maps = method_maps(run.table, "subject")
    assert [(m.feature, m.method) for m in maps] == [
        ("subject", "probe"), (ANSWER, "ablation"), (ANSWER, "ablation"), (ANSWER, "patching"),
        (ANSWER, "attribution"),
    ]  # fmt: skip
    assert [m.method for m in feature_maps(run.table, "subject")] == ["probe"]
    assert of_method(run.table, "subject", method="ablation").feature == ANSWER
    assert of_method(run.table, "subject").feature == "subject"


def test_of_several_answers_none_is_taken(run: SyntheticRun) -> None:
    other = run.table[run.table["method"] == "ablation"].assign(feature="second")
    both = pd.concat([run.table, other], ignore_index=True)
    assert answer_feature(run.table, "ablation") == ANSWER
    assert answer_feature(both, "ablation") is None
    assert [m.method for m in method_maps(both, "subject")] == ["probe", "patching", "attribution"]


def test_an_unknown_feature_is_refused(run: SyntheticRun) -> None:
    with pytest.raises(UserError, match="'nothing' is not in these results"):
        of_method(run.table, "nothing", method="ablation")


def test_without_probes_the_first_method_of_the_vocabulary_is_the_runs_own() -> None:
    table = make_run(SHAPE, probes=False).table
    assert feature_maps(table, ANSWER)[0].subject.label == "mean ablation, total effect"


def test_a_head_is_named_by_significance_and_size() -> None:
    rows = [
        {"feature": "f", "site": "heads", "method": "ablation", "probe": "mean", "effect": "total",
         "stream": "d", "layer": head // 10, "head": head % 10, "split": "test",
         "metric": "logit_difference", "value": value, "p_familywise": p}
        for head, (value, p) in enumerate(
            [(-3.0, 0.01), (2.0, 0.2), (0.5, 0.001), *[(0.1, 0.01)] * 37]
        )
    ]  # fmt: skip
    # Two of 40 heads may be named: the second largest is not significant.
    own = own_maps(results_table(rows), "f")[0]
    assert named_heads(own) == {("d", 0, 0)}
    assert named_heads(own, level=0.25) == {("d", 0, 0), ("d", 0, 1)}
    matched = [{**row, "p_control_familywise": 0.9 if row["head"] == 0 else 0.01} for row in rows]
    own = own_maps(results_table(matched), "f")[0]
    assert named_heads(own) == {("d", 0, 1)}  # the matched control asks the better question
    untested = [{k: v for k, v in row.items() if k != "p_familywise"} for row in rows]
    assert named_heads(own_maps(results_table(untested), "f")[0]) == set()


def test_unsigned_maps_name_their_highest_heads(run: SyntheticRun) -> None:
    own = own_maps(run.table, ANSWER)[0]
    named = named_heads(own)
    values = own.map("accuracy")
    lowest = min(float(values.to_numpy()[layer, head]) for _, layer, head in named)
    assert 0 < len(named) <= 2 and lowest >= np.sort(values.to_numpy().ravel())[-2]
