"""Which rows a problem trains, chooses and scores on."""

from __future__ import annotations

import numpy as np
import pytest

from probes.corpora.corpus import TEST, TRAIN, VALIDATION
from probes.training.problems import (
    Problem,
    ProblemSet,
    Role,
    fold_problems,
    real_problem,
    seed_problems,
)
from tests.training.synthetic import make_labels, make_task


def test_real_problem_is_the_split() -> None:
    task = make_task(make_labels(50, 3))
    problem = real_problem(task)
    for mask, part in ((problem.train, TRAIN), (problem.select, VALIDATION), (problem.score, TEST)):
        np.testing.assert_array_equal(mask, task.split == part)


def test_every_row_is_scored_by_one_fold_that_never_saw_it() -> None:
    task = make_task(make_labels(60, 3))
    folds = np.arange(60) // 10 % 4
    problems = fold_problems(task, folds)
    assert [p.name for p in problems] == [f"fold-{k}" for k in range(4)]
    np.testing.assert_array_equal(sum(p.score.astype(int) for p in problems), 1)
    for problem in problems:
        uses = problem.train.astype(int) + problem.select + problem.score
        np.testing.assert_array_equal(uses, 1)
        assert problem.select.any()


def test_seeds_change_nothing_but_the_start() -> None:
    problem = real_problem(make_task(make_labels(50, 3)))
    first, second = seed_problems(problem, [3, 9])
    assert (first.name, first.seed, second.seed) == ("seed-3", 3, 9)
    assert first.labels is problem.labels


def test_what_only_a_bug_can_break() -> None:
    task = make_task(make_labels(50, 3))
    nothing = np.zeros(50, dtype=bool)
    with pytest.raises(AssertionError, match="no rows"):
        Problem(Role.REAL, task.labels, nothing, nothing, nothing)
    with pytest.raises(AssertionError):
        ProblemSet(make_task(make_labels(50, 3), np.arange(20)), (real_problem(task),))
