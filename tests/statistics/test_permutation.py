"""What permuted labels keep, and that a test built on them has its level under clusters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from probes.corpora.corpus import TEST, TRAIN
from probes.corpora.tasks import Task
from probes.evaluation.permutations import grouped_labels
from probes.evaluation.planted import planted_activations, planted_task
from probes.statistics.permutation import exchange_of, permuted_labels

KINDS: dict[str, Callable[..., Task]] = {
    "groups": partial(planted_task, pure=True, rows=(1, 9)),
    "blocks": partial(planted_task, lean=2.0, rows=(2, 9)),
    "sequence": partial(planted_task, lean=2.0, rows=(3, 30), level="word"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_scheme_is_the_one_expected(kind: str) -> None:
    assert exchange_of(grouped_labels(KINDS[kind]())).kind == kind


@pytest.mark.parametrize("kind", KINDS)
def test_labels_stay_in_their_split(kind: str) -> None:
    task = KINDS[kind](classes=3)
    permuted = permuted_labels(grouped_labels(task), 5, seed=0)
    assert permuted.shape == (5, len(task.labels))
    for labels in permuted:
        assert (labels != task.labels).any()
        for split in (TRAIN, TEST):
            got = np.bincount(labels[task.split == split], minlength=3)
            if kind == "groups":  # groups of unequal size: counts of groups are kept
                inside = task.split == split
                firsts = np.unique(task.groups[inside], return_index=True)[1]
                got = np.bincount(labels[inside][firsts], minlength=3)
                want = np.bincount(task.labels[inside][firsts], minlength=3)
            else:
                want = task.counts(split)
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("kind", KINDS)
def test_seed_decides(kind: str) -> None:
    task = KINDS[kind]()
    first, again, other = (
        permuted_labels(grouped_labels(task), 2, seed=seed) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("kind", KINDS)
def test_level_under_clusters(kind: str) -> None:
    # Activations and labels both depend on the group, and not on each other.
    p = np.array([group_p_value(kind, seed, free=False) for seed in range(300)])
    # 300 repetitions at 5%: 2 to 8% with a chance of 98%.
    assert 0.02 <= (p <= 0.05).mean() <= 0.08
    assert 0.42 <= (p <= 0.5).mean() <= 0.58


@pytest.mark.parametrize("kind", KINDS)
def test_free_permutation_of_rows_fails_under_clusters(kind: str) -> None:
    p = np.array([group_p_value(kind, seed, free=True) for seed in range(200)])
    assert (p <= 0.05).mean() > 0.09


def group_p_value(kind: str, seed: int, *, free: bool, permutations: int = 39) -> float:
    """p of a least-squares probe refitted on permuted labels, on clustered noise."""
    random = np.random.default_rng(seed)
    task = KINDS[kind](40, lean=4.0, seed=seed)
    if kind == "sequence":  # neighbouring labels and activations drift together
        state = random.random(len(task.labels)) < 0.12
        task = replace(task, labels=(np.cumsum(state) % 2).astype(np.int64))
    z = planted_activations(task, [0.0], width=2, cluster=1.5, seed=seed).z[0].astype(float)
    if kind == "sequence":
        z += 2 * np.repeat(random.normal(size=(len(z) // 8 + 1, 2)), 8, axis=0)[: len(z)]
    z /= z.std()
    if free:
        permuted = np.stack([task.labels.copy() for _ in range(permutations)])
        for labels in permuted:
            for split in (TRAIN, TEST):
                inside = task.split == split
                labels[inside] = random.permutation(labels[inside])
    else:
        permuted = permuted_labels(grouped_labels(task), permutations, seed=seed)
    targets = 2.0 * np.concatenate([task.labels[None], permuted]).T - 1  # (n, 1 + P)
    x = np.column_stack([z, np.ones(len(z))])
    train, test = task.split == TRAIN, task.split == TEST
    weights = np.linalg.lstsq(x[train], targets[train], rcond=None)[0]
    right = ((x[test] @ weights > 0) == (targets[test] > 0)).mean(axis=0)
    gain = right - (targets[test] == np.sign(targets[train].mean(axis=0) + 1e-9)).mean(axis=0)
    ties = random.random(permutations + 1)  # discrete gains: break ties, to see the exact level
    rank = (gain[1:] + 1e-6 * ties[1:] >= gain[0] + 1e-6 * ties[0]).sum()
    return float((1 + rank) / (1 + permutations))


def test_pairs_are_flipped_within() -> None:
    # One right and one wrong sentence in each pair, always in this order in the file.
    task = planted_task(30, 2)
    task = replace(task, labels=np.tile([0, 1], 30))
    permuted = permuted_labels(grouped_labels(task), 50, seed=0)
    assert exchange_of(grouped_labels(task)).kind == "blocks"
    pairs = permuted.reshape(50, 30, 2)
    assert (pairs.sum(axis=2) == 1).all()
    assert 0.4 < pairs[:, :, 0].mean() < 0.6


def test_sentences_of_one_length_do_not_get_their_own_labels_back() -> None:
    # Every sentence has the same pattern: exchanging sentences alone would change nothing.
    task = planted_task(40, 5, level="word")
    task = replace(task, labels=np.tile([0, 1, 0, 0, 1], 40))
    permuted = permuted_labels(grouped_labels(task), 40, seed=0)
    assert ((permuted == task.labels).mean(axis=1) < 1).mean() > 0.6
