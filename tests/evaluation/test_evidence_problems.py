"""The problems of the evidence: what each trains on, and which runs are refused beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from probes.config import EvaluationConfig, SignificanceConfig, SplitConfig
from probes.core.errors import UserError
from probes.corpora.corpus import TEST
from probes.corpora.tasks import Task
from probes.evaluation.evidence_problems import evidence_problems, positions_by_role
from probes.evaluation.planted import planted_task
from probes.training.problems import Problem, Role


def problems(
    task: Task,
    *,
    folds: int = 0,
    permutations: int = 0,
    seeds: Sequence[int] = (),
    control: bool = True,
    codelength: bool = False,
) -> tuple[Problem, ...]:
    return evidence_problems(
        task,
        EvaluationConfig(control=control, codelength=codelength),
        SignificanceConfig(permutations=permutations),
        SplitConfig(folds=folds),
        seeds=seeds,
    )


def test_real_comes_first_and_control_by_default() -> None:
    found = problems(planted_task())
    assert [p.name for p in found] == ["real", "control"]
    np.testing.assert_array_equal(found[0].train, found[1].train)
    assert (found[0].labels != found[1].labels).any()


def test_permutations_take_the_penalty_of_the_real_labels() -> None:
    found = problems(planted_task(), permutations=20, control=False)
    assert len(found) == 21
    assert not any(p.select.any() for p in found[1:])
    assert len({p.labels.tobytes() for p in found}) == 21


def test_the_folds_of_a_role_score_every_row_once_together() -> None:
    made = problems(planted_task(), folds=4, permutations=19, seeds=[0, 1], codelength=True)
    by_role = positions_by_role(made)
    blocks = by_role.pop(Role.CODELENGTH)
    assert {role: len(indices) for role, indices in by_role.items()} == {
        Role.REAL: 1,
        Role.CONTROL: 1,
        Role.PERMUTATION: 19,
        Role.SEED: 2,
    }
    for positions in [one for indices in by_role.values() for one in indices]:
        scored = np.sum([made[p].score for p in positions], axis=0)
        assert len(positions) == 4 and (scored == 1).all()
    assert [made[p].index for (p,) in blocks] == list(range(1, len(blocks) + 1))


def test_names_are_the_keys_of_saved_probes() -> None:
    made = problems(planted_task(), permutations=19, seeds=[7], codelength=True)
    names = [p.name for p in made]
    assert names[:3] == ["real", "control", "permutation-0"]
    assert {"permutation-18", "codelength-1", "seed-7"} < set(names)
    folds = problems(planted_task(), folds=3, permutations=19, seeds=[7])
    names = [p.name for p in folds]
    assert names[:4] == ["fold-0", "fold-1", "fold-2", "control/fold-0"]
    assert {"permutation-18/fold-2", "seed-7/fold-0"} < set(names)


def test_folds_keep_groups_and_texts_apart() -> None:
    task = planted_task(60, 5)
    texts = task.texts.copy()
    texts[::7] = 0  # one text that recurs in many groups
    task = replace(task, texts=texts)
    for problem in problems(task, folds=5, control=False):
        for part, other in (("train", "score"), ("train", "select"), ("select", "score")):
            a, b = getattr(problem, part), getattr(problem, other)
            assert not np.intersect1d(task.groups[a], task.groups[b]).size
            assert not np.intersect1d(task.texts[a], task.texts[b]).size


def test_seeds_keep_the_labels_and_differ_in_seed() -> None:
    found = problems(planted_task(), control=False, seeds=[3, 4])
    assert [(p.name, p.seed) for p in found[1:]] == [("seed-3", 3), ("seed-4", 4)]


def test_one_group_in_test_is_refused() -> None:
    task = planted_task()
    groups = np.where(task.split == TEST, 10**6, task.groups).astype(np.int32)
    with pytest.raises(UserError, match=r"belong to one group.*split\.source=group"):
        problems(replace(task, groups=groups))


def test_fewer_groups_than_folds_are_refused() -> None:
    with pytest.raises(UserError, match=r"split\.folds=9: there are 4 groups"):
        problems(planted_task(4, 10), folds=9)


@pytest.mark.parametrize("folds", [1, 2])
def test_too_few_folds_to_nest_are_refused(folds: int) -> None:
    with pytest.raises(UserError, match=r"at least 3.*split\.folds=5"):
        problems(planted_task(), folds=folds)


def test_permutations_that_cannot_reach_the_level_are_refused() -> None:
    with pytest.raises(UserError, match=r"smallest reachable p-value.*0\.25"):
        problems(planted_task(), permutations=3)
