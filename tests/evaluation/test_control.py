"""Control labels: one class for each word type; exchanged groups for texts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from probes.corpora.corpus import TEST, TRAIN, Level
from probes.evaluation.control import control_labels
from probes.evaluation.planted import planted_task


@pytest.mark.parametrize("level", ["word", "span"])
def test_one_class_a_type_in_all_splits(level: Level) -> None:
    task = planted_task(200, 20, level=level, types=300)
    labels = control_labels(task, seed=0)
    for word in np.unique(task.types):
        assert len(np.unique(labels[task.types == word])) == 1


def test_classes_follow_the_training_distribution() -> None:
    task = planted_task(500, 20, level="word", types=4000, classes=4)
    task = replace(task, labels=np.minimum(task.labels, 2))
    labels = control_labels(task, seed=0)
    types, first = np.unique(task.types, return_index=True)
    share = np.bincount(labels[first], minlength=4) / len(types)
    np.testing.assert_allclose(share, task.counts(TRAIN) / task.counts(TRAIN).sum(), atol=0.03)
    assert share[3] == 0


def test_control_has_nothing_to_do_with_the_task() -> None:
    task = planted_task(500, 20, level="word", types=4000)
    agreement = [(control_labels(task, seed=s) == task.labels).mean() for s in range(20)]
    assert abs(np.mean(agreement) - 0.5) < 0.01


def test_texts_keep_their_majority() -> None:
    task = planted_task(100, 1, classes=3, level="sentence")
    labels = control_labels(task, seed=0)
    assert (labels != task.labels).mean() > 0.4
    for split in (TRAIN, TEST):
        got = np.bincount(labels[task.split == split], minlength=3)
        np.testing.assert_array_equal(got, task.counts(split))


def test_seed_decides() -> None:
    task = planted_task(level="word")
    np.testing.assert_array_equal(control_labels(task, seed=1), control_labels(task, seed=1))
    assert (control_labels(task, seed=1) != control_labels(task, seed=2)).any()
