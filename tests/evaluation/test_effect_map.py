"""Rows, tests, best heads and caveats of maps of effects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from probes.core.errors import UserError
from probes.evaluation.effect_map import EffectMap, judge_effects
from probes.results.evidence import load_evidence, save_evidence
from probes.results.feature_table import FeatureTable
from probes.results.subject import Subject
from probes.results.table import results_table
from probes.statistics.bootstrap import draw_groups
from probes.statistics.maps import MapEvidence
from tests.evaluation.planted_effects import effects_evidence

SHAPE = (4, 4, 4)
TRUTH = np.zeros(12)
TRUTH[[2, 7, 9]] = 1.5, 3.0, -4.0
"""Head 2 moves the measure whatever it is replaced by; 9 works against the answer."""


@pytest.fixture(scope="module")
def effects() -> MapEvidence:
    return effects_evidence(TRUTH, SHAPE, seed=1)


@pytest.fixture(scope="module")
def control(effects: MapEvidence) -> MapEvidence:
    truth = np.where(np.arange(12) == 2, 1.5, 0.0)
    return replace(effects_evidence(truth, SHAPE, seed=2), probe="matched")


def judged(effects: MapEvidence, control: MapEvidence | None = None) -> EffectMap:
    draws = draw_groups(len(effects.groups), 200, seed=0)
    return judge_effects(effects, control=control, draws=draws, level=0.05, seed=0)


def test_the_best_head_is_the_largest_of_either_sign(effects: MapEvidence) -> None:
    best = judged(effects).best
    assert (best.layer, best.head) == (2, 1) == (best.naive_layer, best.naive_head)
    assert best.value == pytest.approx(effects.sums().value()[9])
    assert best.value is not None and best.ci_low is not None and best.ci_high is not None
    assert best.ci_low < best.value < best.ci_high < 0
    assert (best.measured.method, best.measured.effect) == ("ablation", "total")


def test_it_is_chosen_on_validation(effects: MapEvidence) -> None:
    validation = effects.validation.copy()
    validation[7] = 9.0
    best = judged(replace(effects, validation=validation)).best
    assert (best.layer, best.head) == (1, 3)
    assert (best.naive_layer, best.naive_head) == (2, 1)


def test_a_table_of_probes_and_effects_keeps_them_apart(
    effects: MapEvidence, control: MapEvidence
) -> None:
    direct = replace(effects_evidence(TRUTH / 2, SHAPE, seed=3), effect="direct")
    rows = judged(direct).rows + judged(effects, control).rows
    table = results_table(
        [*rows, {"feature": "indirect_object", "site": "heads", "probe": "linear", "layer": 0,
                 "head": 0, "stream": "decoder", "split": "test", "metric": "accuracy",
                 "value": 0.5}]
    )  # fmt: skip
    assert Subject.of(table).method == "probe"
    own = FeatureTable.of(table, "indirect_object", method="ablation")
    assert own.subject == Subject("heads", "ablation", "mean", "logit_difference", "total", "all")
    np.testing.assert_allclose(
        own.map("logit_difference").to_numpy().ravel(), effects.sums().value()
    )
    assert own.map("logit_difference", column="ci_low").notna().all(axis=None)
    assert own.evidence == "q_control"
    assert own.top(2)[["layer", "head"]].to_numpy().tolist() == [[2, 1], [1, 3]]
    assert own.names[0] == "logit_difference"
    beyond = effects.sums().value() - control.sums().value()
    np.testing.assert_allclose(own.map("gain_matched").to_numpy().ravel(), beyond)
    other = FeatureTable.of(table, "indirect_object", method="ablation", effect="direct")
    assert other.evidence == "q_value" and other.subject.effect == "direct"
    quantity = own.quantity("logit_difference")
    assert (quantity.diverging, quantity.anchor) == (True, 0.0)
    assert quantity.label == "effect on logit difference" and "helps" in quantity.about


def test_the_control_finds_what_is_special_to_the_answer(
    effects: MapEvidence, control: MapEvidence
) -> None:
    found = judged(effects, control)
    own = FeatureTable.of(results_table(found.rows), "indirect_object", method="ablation")
    by = {
        name: set(np.flatnonzero(own.map(name).to_numpy().ravel() <= 0.05))
        for name in ("p_familywise", "p_control_familywise")
    }
    assert by == {"p_familywise": {2, 7, 9}, "p_control_familywise": {7, 9}}
    assert (found.test.significant_familywise, found.test.control_familywise) == (3, 2)
    assert found.caveats == []


def test_without_partners_there_is_a_caveat(effects: MapEvidence) -> None:
    found = judged(effects)
    assert found.test.control_null == ""
    (caveat,) = found.caveats
    assert caveat.startswith("indirect_object (ablation): fewer than half of the")


def test_an_effect_that_any_text_of_the_answer_has_is_named(effects: MapEvidence) -> None:
    noise = effects_evidence(np.zeros(12), SHAPE, seed=5)
    same = replace(effects, probe="matched", totals=np.add(effects.totals, noise.totals))
    found = judged(effects, same)
    assert [c for c in found.caveats if "not special to the answer" in c]


def test_nothing_at_all_is_said() -> None:
    nothing = effects_evidence(np.zeros(12), SHAPE, seed=8)
    assert any("no head has an effect" in caveat for caveat in judged(nothing).caveats)


def test_a_control_of_other_heads_is_refused(effects: MapEvidence) -> None:
    other = effects_evidence(np.zeros(8), (4, 4), seed=2)
    with pytest.raises(UserError, match="other heads or rows"):
        judged(effects, other)


def test_evidence_keeps_both_maps(
    effects: MapEvidence, control: MapEvidence, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("run") / "evidence.safetensors"
    save_evidence(judged(effects, control).maps, path)
    again = load_evidence(path)
    assert [m.key for m in again] == [effects.key, control.key]
    np.testing.assert_array_equal(again[0].totals, effects.totals)
