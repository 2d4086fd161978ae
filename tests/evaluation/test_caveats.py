"""What a run says about its own weak points."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import cast

import numpy as np
import numpy.typing as npt

from probes.config import EvaluationConfig, SignificanceConfig, SplitConfig
from probes.config.run import STRONGER, WEAKER
from probes.corpora.corpus import TEST, TRAIN
from probes.corpora.tasks import Task
from probes.evaluation.caveats import map_caveats, penalty_caveats, task_caveats
from probes.evaluation.evidence_problems import evidence_problems
from probes.evaluation.planted import planted_activations, planted_task
from probes.evaluation.scored_rows import ScoredRows
from probes.results.findings import MapTestSummary
from tests.evaluation.fitted_chunks import evaluated


def caveats(task: Task, effect: npt.ArrayLike = (0.0, 4.0)) -> str:
    return " ".join(evaluated(planted_activations(task, effect)).caveats)


def test_a_sound_run_has_none() -> None:
    assert caveats(planted_task(120, 6)) == ""


def test_few_groups_and_the_level_they_cannot_reach() -> None:
    task = planted_task(12, 40, shares=(0.5, 0.25))  # 3 test groups
    said = caveats(task)
    assert "only 3 documents" in said
    assert "no p-value can be below 0.125" in said


def test_rare_classes_by_name_and_count() -> None:
    task = planted_task(120, 6, classes=3)
    labels = np.where(task.labels == 2, 0, task.labels)
    rows = np.flatnonzero(task.split == TEST)[:4]
    labels[rows] = 2
    labels[np.flatnonzero(task.split == TRAIN)[::7]] = 2
    assert "class2 (4)" in caveats(replace(task, labels=labels))


def test_a_class_in_one_training_group() -> None:
    task = planted_task(120, 6, classes=3)
    labels = np.where(task.labels == 2, 0, task.labels)
    labels[task.groups == 0] = 2
    labels[np.flatnonzero(task.split == TEST)[::9]] = 2
    assert "one training document holds all rows of class2" in caveats(replace(task, labels=labels))


def test_a_control_as_good_as_the_task() -> None:
    # The head tells word types apart, and nothing else.
    task = planted_task(200, 10, level="word", types=12)
    task = replace(task, labels=(task.types % 2).astype(np.int64))
    planted = planted_activations(task, [0.0], width=24)
    random = np.random.default_rng(0)
    z = random.normal(size=(12, 24))[task.types] + 0.05 * random.normal(size=(2000, 24))
    said = " ".join(evaluated(replace(planted, z=z[None].astype(np.float32))).caveats)
    assert "on its control" in said


def test_nothing_significant() -> None:
    assert "no head is significant" in caveats(planted_task(80, 5), effect=np.zeros(6))


def test_one_class_in_test_leaves_out_what_cannot_be_measured() -> None:
    task = planted_task(120, 6)
    labels = np.where(task.split == TEST, 0, task.labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        run = evaluated(planted_activations(replace(task, labels=labels), (0.0, 4.0)))
    said = " ".join(run.caveats)
    assert "all reported rows are of the class" in said and "AUROC cannot be measured" in said
    assert "auroc" not in {row["metric"] for row in run.rows}
    assert "accuracy" in {row["metric"] for row in run.rows if row["split"] == "test"}


def test_caveats_do_not_contradict_each_other() -> None:
    """What cannot be significant is not called chance, and permutations are not groups."""
    said = caveats(planted_task(12, 40, shares=(0.5, 0.25)))  # 3 test groups
    assert "nothing can be significant" in said
    assert "bright cells" not in said
    scored = ScoredRows.of(
        task := planted_task(12, 40, shares=(0.5, 0.25)),
        evidence_problems(
            task, EvaluationConfig(control=False), SignificanceConfig(), SplitConfig()
        )[:1],
        {},
        None,
    )
    few = " ".join(task_caveats(scored, "document", 0.05, permutations=200))
    assert "nothing can be significant" not in few
    few = " ".join(task_caveats(scored, "document", 0.05, permutations=9))
    assert "with 9 permutations no p-value can be below 0.1" in few


def test_heads_that_are_significant_together_are_not_called_chance() -> None:
    summary = MapTestSummary("upos", "heads", "linear", null="", smallest_p=1e-4, units=72,
                             groups=30, level=0.05, significant_familywise=0,
                             significant_q=12)  # fmt: skip
    evidence = evaluated(planted_activations(planted_task(80, 5), [0.0])).maps[0]
    (said,) = map_caveats(evidence, None, cast(ScoredRows, None), summary)
    assert "12 of 72 are at a false discovery rate" in said
    assert "bright" not in said


def test_a_penalty_at_the_edge_of_its_grid_is_said() -> None:
    def said(penalties: list[float], l2: list[float] | None, site: str = "heads") -> list[str]:
        return penalty_caveats({("upos", site, "linear"): penalties}, "heads", l2)

    (one,) = said([10.0] * 17 + [100.0] * 3, [10.0, 100.0, 1000.0])
    assert "85% of the probes chose the smallest penalty" in one
    assert "probe.l2=[1,10,100,1000]" in one
    assert said([10.0] * 2 + [100.0] * 18, [10.0, 100.0, 1000.0]) == []
    assert said([10.0] * 20, [10.0]) == []
    assert said([10.0] * 20, [10.0, 100.0], site="residual") == []


def test_the_default_penalties_have_their_edge_where_they_end() -> None:
    def said(penalties: list[float]) -> list[str]:
        return penalty_caveats({("upos", "heads", "linear"): penalties}, "heads", None)

    assert said([10.0] * 20) == [] and said([1000.0] * 20) == []
    (low,), (high,) = said([WEAKER[-1]] * 20), said([STRONGER[-1]] * 20)
    assert f"smallest penalty that was tried, {WEAKER[-1]:g}" in low
    assert f"largest penalty that was tried, {STRONGER[-1]:g}" in high
