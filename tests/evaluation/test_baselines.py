"""Baselines without a model, against loops and constructed texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from probes.corpora.corpus import TEST, TRAIN
from probes.corpora.tasks import Task
from probes.evaluation.baselines import bag_of_words, lexical, majority
from probes.evaluation.planted import planted_task
from probes.training.problems import real_problem


def test_majority_is_that_of_train() -> None:
    task = planted_task(classes=3)
    task = replace(task, labels=np.where(task.split == TRAIN, 2, task.labels))
    assert (majority(task, real_problem(task)) == 2).all()


def test_lexical_equals_a_loop() -> None:
    task = planted_task(60, 10, classes=4, level="word", types=150)
    task = replace(task, labels=np.where(np.arange(600) % 3 > 0, task.types % 4, task.labels))
    problem = real_problem(task)
    got = lexical(task, problem)
    overall = Counter(task.labels[problem.train].tolist())
    backed_off = 0
    for row in np.flatnonzero(task.split == TEST):
        same = problem.train & (task.types == task.types[row])
        counts = Counter(task.labels[same].tolist())
        if not counts:
            backed_off += 1
            assert got[row] == overall.most_common(1)[0][0]
            continue
        best = max(counts.values())
        assert counts[got[row]] == best
        tied = [c for c, n in counts.items() if n == best]
        assert overall[got[row]] == max(overall[c] for c in tied)
    assert backed_off  # some types are new in test


def test_lexical_learns_from_training_rows_only() -> None:
    task = planted_task(level="word")
    problem = real_problem(task)
    changed = replace(problem, labels=np.where(problem.train, problem.labels, 0))
    np.testing.assert_array_equal(lexical(task, problem), lexical(task, changed))


def texts_for(task: Task, pattern: Callable[[int], int]) -> list[str]:
    random = np.random.default_rng(0)
    filler = ["alpha", "beta", "gamma", "delta"]
    return [
        " ".join(random.choice(filler, size=pattern(label)))
        + (" ?" if label and pattern(label) == 6 else "")
        for label in task.labels
    ]


def test_bag_of_words_sees_a_question_mark() -> None:
    task = planted_task(100, 2, level="sentence")
    texts = texts_for(task, lambda label: 6)
    predicted = bag_of_words(task, real_problem(task), texts)
    assert (predicted == task.labels)[task.split == TEST].mean() > 0.95


def test_bag_of_words_sees_length() -> None:
    task = planted_task(100, 2, level="sentence")
    texts = texts_for(task, lambda label: 20 if label else 4)
    predicted = bag_of_words(task, real_problem(task), texts)
    assert (predicted == task.labels)[task.split == TEST].mean() > 0.95


def test_bag_of_words_of_noise_is_chance() -> None:
    task = planted_task(300, 2, level="sentence")
    texts = texts_for(task, lambda label: 5)
    predicted = bag_of_words(task, real_problem(task), texts)
    assert abs((predicted == task.labels)[task.split == TEST].mean() - 0.5) < 0.12
