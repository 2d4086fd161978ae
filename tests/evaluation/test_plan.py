"""The problems of the evidence: what each trains on, and which runs are refused beforehand."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.planted import planted_task
from probes.config import EvaluationConfig, SignificanceConfig, SplitConfig
from probes.core.errors import UserError
from probes.corpora.corpus import TEST
from probes.evaluation.plan import evidence_problems, variants


def problems(task, *, folds=0, permutations=0, seeds=(), **evaluation):
    return evidence_problems(
        task,
        EvaluationConfig(**evaluation),
        SignificanceConfig(permutations=permutations),
        SplitConfig(folds=folds),
        seeds=seeds,
    )


def test_real_comes_first_and_control_by_default():
    found = problems(planted_task())
    assert [p.name for p in found] == ["real", "control"]
    np.testing.assert_array_equal(found[0].train, found[1].train)
    assert (found[0].labels != found[1].labels).any()


def test_permutations_take_the_penalty_of_the_real_labels():
    found = problems(planted_task(), permutations=20, control=False)
    assert len(found) == 21
    assert not any(p.select.any() for p in found[1:])
    assert len({p.labels.tobytes() for p in found}) == 21


def test_variants_join_folds():
    found = problems(planted_task(), folds=4, permutations=19, seeds=[0, 1], codelength=True)
    by_name = variants(found)
    assert set(by_name) == {"real", "control", "seed-0", "seed-1"} | {
        f"permutation-{i}" for i in range(19)
    }
    for variant in by_name.values():
        scored = np.sum([found[p].score for p in variant.problems], axis=0)
        assert len(variant.problems) == 4 and (scored == 1).all()


def test_folds_keep_groups_and_texts_apart():
    task = planted_task(60, 5)
    texts = task.texts.copy()
    texts[::7] = 0  # one text that recurs in many groups
    task = replace(task, texts=texts)
    for problem in problems(task, folds=5, control=False):
        for part, other in (("train", "score"), ("train", "select"), ("select", "score")):
            a, b = getattr(problem, part), getattr(problem, other)
            assert not np.intersect1d(task.groups[a], task.groups[b]).size
            assert not np.intersect1d(task.texts[a], task.texts[b]).size


def test_seeds_keep_the_labels_and_differ_in_seed():
    found = problems(planted_task(), control=False, seeds=[3, 4])
    assert [(p.name, p.seed) for p in found[1:]] == [("seed-3", 3), ("seed-4", 4)]


class TestRefused:
    def test_one_group_in_test(self):
        task = planted_task()
        groups = np.where(task.split == TEST, 10**6, task.groups).astype(np.int32)
        with pytest.raises(UserError, match=r"belong to one group.*split\.source=group"):
            problems(replace(task, groups=groups))

    def test_fewer_groups_than_folds(self):
        with pytest.raises(UserError, match=r"split\.folds=9: there are 4 groups"):
            problems(planted_task(4, 10), folds=9)

    @pytest.mark.parametrize("folds", [1, 2])
    def test_too_few_folds_to_nest(self, folds):
        with pytest.raises(UserError, match=r"at least 3.*split\.folds=5"):
            problems(planted_task(), folds=folds)

    def test_permutations_that_cannot_reach_the_level(self):
        with pytest.raises(UserError, match=r"smallest reachable p-value.*0\.25"):
            problems(planted_task(), permutations=3)
