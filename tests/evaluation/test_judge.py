"""Maps of effects, judged as maps of probes are: level, planted heads of either sign, findings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from probes.evaluation.judge import EFFECT_NULLS, MapFindings, judge_map
from probes.statistics.bootstrap import draw_groups
from probes.statistics.groups import Groups
from probes.statistics.maps import MapEvidence

LAYERS, HEADS, GROUPS, ROWS = 4, 8, 24, 4
GROUP_OF_ROW = Groups.of(np.repeat(np.arange(GROUPS), ROWS))


def effects_of(means: np.ndarray, seed: int) -> np.ndarray:
    """Effects (H, n) with these means: heavy-tailed, alike within a group and between heads.

    Heads differ in scale by 100x, and some move the measure only by noise.
    """
    random = np.random.default_rng(seed)
    units = len(means)
    of_group = random.normal(size=(units, GROUPS)) + random.normal(size=(1, GROUPS))
    noise = of_group[:, GROUP_OF_ROW.index] + random.standard_t(4, size=(units, GROUPS * ROWS))
    scale = np.geomspace(0.01, 1, units)[:, None]
    effects: np.ndarray = scale * (noise + means[:, None])
    return effects


def evidence_of(effects: np.ndarray, validation: np.ndarray | None = None) -> MapEvidence:
    units = len(effects)
    return MapEvidence(
        feature="indirect_object",
        site="heads",
        probe="mean",
        units=np.stack([np.arange(units) // HEADS, np.arange(units) % HEADS], 1).astype(np.int32),
        streams=("decoder",) * units,
        groups=GROUP_OF_ROW.names.astype(np.int64),
        rows=GROUP_OF_ROW.sizes,
        totals=GROUP_OF_ROW.sum(effects),
        validation=np.full(units, np.nan) if validation is None else validation,
        method="ablation",
        metric="logit_difference",
        effect="total",
        positions="all",
    )


def judged(
    evidence: MapEvidence, control: np.ndarray | None = None, *, two_sided: bool = True
) -> MapFindings:
    return judge_map(
        evidence,
        baseline=np.zeros(GROUPS),
        control=control,
        draws=draw_groups(GROUPS, 200, seed=0),
        nulls=EFFECT_NULLS,
        two_sided=two_sided,
        level=0.05,
        seed=0,
    )


def test_the_family_wise_level_holds_on_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probes.statistics.significance.FLIPS", 499)
    monkeypatch.setattr("probes.evaluation.judge._best", lambda *_: None)
    false, of_control = [], []
    for seed in range(400):
        effects = effects_of(np.zeros(LAYERS * HEADS), seed)
        # A control of the same prompts moves with the effect: both share what is hard in a prompt.
        control = effects_of(np.zeros(LAYERS * HEADS), 1000 + seed) + 0.5 * effects
        findings = judged(evidence_of(effects), GROUP_OF_ROW.sum(control))
        false.append(findings.summary.significant_familywise > 0)
        assert findings.against_control is not None
        of_control.append(findings.against_control.p_familywise.min() <= 0.05)
    assert 0.02 <= np.mean(false) <= 0.08
    assert 0.02 <= np.mean(of_control) <= 0.08


def test_planted_heads_of_either_sign_are_found_and_named() -> None:
    means = np.zeros(LAYERS * HEADS)
    means[[5, 20]] = 2.5, -2.5
    effects = effects_of(means, 0)
    evidence = evidence_of(effects, validation=effects_of(means, 1).mean(axis=1))
    findings = judged(evidence)
    significant = np.flatnonzero(findings.against_baseline.p_familywise <= 0.05)
    np.testing.assert_array_equal(significant, [5, 20])
    assert findings.summary.significant_familywise == 2
    assert findings.summary.null == "the mean effect over groups is 0"
    one_sided = judged(evidence, two_sided=False)
    significant = np.flatnonzero(one_sided.against_baseline.p_familywise <= 0.05)
    np.testing.assert_array_equal(significant, [5])


def test_the_best_unit_is_chosen_on_validation_and_reported_with_its_interval() -> None:
    means = np.zeros(LAYERS * HEADS)
    means[20] = 2.5
    effects, validation = effects_of(means, 0), effects_of(means, 1).mean(axis=1)
    best = judged(evidence_of(effects, validation)).best
    chosen = int(np.abs(validation).argmax())
    assert (best.layer, best.head) == divmod(chosen, HEADS)
    assert best.value == pytest.approx(effects[chosen].mean())
    assert best.ci_low is not None and best.ci_high is not None and best.value is not None
    assert best.ci_low < best.value < best.ci_high
    assert abs(best.naive or 0.0) == pytest.approx(np.abs(effects.mean(axis=1)).max())


def test_effects_are_compared_with_a_matched_control() -> None:
    """Head 5 moves the measure whatever it is replaced by; head 20 only by its own content."""
    means = np.zeros(LAYERS * HEADS)
    means[[5, 20]] = 3.0
    control = means.copy()
    control[20] = 0.0
    findings = judged(evidence_of(effects_of(means, 0)), GROUP_OF_ROW.sum(effects_of(control, 0)))
    assert findings.against_control is not None
    assert (findings.against_baseline.p_familywise[[5, 20]] <= 0.05).all()
    assert findings.against_control.p_familywise[20] <= 0.05
    assert findings.against_control.p[5] == 1.0  # the same effect: no difference anywhere


def test_columns_of_the_results_table() -> None:
    effects = effects_of(np.zeros(LAYERS * HEADS), 0)
    without = judged(evidence_of(effects)).columns()
    assert [set(columns) for columns in without] == [{"p_value", "p_familywise", "q_value"}] * len(
        effects
    )
    both = judged(evidence_of(effects), np.zeros((len(effects), GROUPS))).columns()
    assert {"p_control", "q_control"} < set(both[0])


def test_normalised_effects_are_a_ratio_of_means() -> None:
    effects = effects_of(np.full(LAYERS * HEADS, 1.0), 0)
    reference = GROUP_OF_ROW.sum(np.abs(effects_of(np.ones(1), 5)))[0]
    evidence = replace(evidence_of(effects), reference=reference)
    expected = GROUP_OF_ROW.sum(effects).sum(axis=1) / reference.sum()
    np.testing.assert_allclose(evidence.sums().value(), expected)
