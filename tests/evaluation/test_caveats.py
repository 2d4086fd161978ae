"""What a run says about its own weak points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from probes.corpora.corpus import TEST, TRAIN
from probes.corpora.tasks import Task
from probes.evaluation.planted import planted_activations, planted_task
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
