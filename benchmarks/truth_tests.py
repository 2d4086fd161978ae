"""Known truth about tests over maps: family-wise error, false discoveries, power."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.stats import norm
from sklearn.metrics import average_precision_score

from benchmarks.truth_probes import predictions
from probes.corpora.corpus import TEST, TRAIN, VALIDATION
from probes.corpora.tasks import Task
from probes.evaluation.permutations import grouped_labels
from probes.evaluation.planted import Planted, accuracy_of, planted_activations, planted_task
from probes.statistics.groups import Array, Groups
from probes.statistics.permutation import permuted_labels
from probes.statistics.significance import MapTest, permutation_test, sign_flip_test

Result = Iterator[tuple[str, float, float, float]]
PERMUTATIONS = 39


def by_group(planted: Planted, right: np.ndarray) -> Array:
    """(..., m) rows right on test -> (..., G) by group."""
    return Groups.of(planted.task.groups[planted.task.split == TEST]).sum(right)


def with_permutations(task: Task, *, seed: int) -> np.ndarray:
    """The task's labels and permutations of them: (1 + P, n)."""
    permuted = permuted_labels(grouped_labels(task), PERMUTATIONS, seed=seed)
    return np.concatenate([task.labels[None], permuted])


def flips(planted: Planted, guess: np.ndarray, seed: int) -> MapTest:
    """The test without refits, of predictions (H, m) against the majority."""
    task = planted.task
    labels = task.labels[task.split == TEST]
    differences = by_group(planted, guess == labels) - by_group(planted, labels == task.majority[0])
    return sign_flip_test(differences, seed=seed)


def familywise(size: Any) -> Result:
    """Maps of pure noise, clustered, in 1,024 heads: how many have a significant head.

    Ten label draws share one draw of activations: given the activations the tests must hold their
    level over labels, so these are repetitions in their own right, and they share the fits' cost.
    """
    refit, flipped, alone, best = [], [], [], []
    for start in range(0, size.repetitions, 10):
        tasks = [
            planted_task(50, 3, lean=1.0, shares=(0.4, 0.0), seed=start + k) for k in range(10)
        ]
        noise = planted_activations(
            tasks[0], np.zeros(size.heads), width=2, cluster=1.0, seed=start
        )
        labels = np.stack(
            [with_permutations(task, seed=start + k) for k, task in enumerate(tasks)]
        )  # (10, 1 + P, n)
        test, train = tasks[0].split == TEST, tasks[0].split == TRAIN
        guess = predictions(noise, labels.reshape(-1, labels.shape[2]))  # (H, 10 (1 + P), m)
        guess = guess.reshape(size.heads, *labels.shape[:2], -1)
        majority = labels[..., train].mean(axis=-1) > 0.5
        base = (labels[..., test] == majority[..., None]).mean(axis=-1)
        right = guess == labels[..., test]
        gain = right.mean(axis=-1) - base  # (H, 10, 1 + P)
        for k, task in enumerate(tasks):
            found = permutation_test(gain[:, k, 0], gain[:, k, 1:].T)
            refit.append(found.p_familywise.min() <= 0.05)
            alone.append(found.p.min() <= 0.05)
            drawn = flips(replace(noise, task=task), guess[:, k, 0], start + k)
            flipped.append(drawn.p_familywise.min() <= 0.05)
            best.append(right[:, k, 0].mean(axis=1).max())
    heads = f"{size.heads} heads of noise"
    low, high = (0.02, 0.08) if size.repetitions >= 200 else (0.0, 0.15)
    yield f"familywise: error, refits, {heads}", float(np.mean(refit)), low, high
    yield f"familywise: error, sign flips, {heads}", float(np.mean(flipped)), low, high
    yield f"familywise: error uncorrected, {heads} (fails)", float(np.mean(alone)), 0.9, 1.0
    yield f"familywise: naive best accuracy, {heads}", float(np.mean(best)), 0.57, 0.8


def false_discoveries(size: Any) -> Result:
    """A tenth of the heads carry something: what share of those found carries nothing?"""
    heads = min(size.heads, 256)
    effect = np.where(np.arange(heads) % 10 == 0, 1.2, 0.0)
    shares, found_true = [], []
    for seed in range(size.repetitions):
        task = planted_task(120, 4, shares=(0.5, 0.0), seed=seed)
        planted = planted_activations(task, effect, width=4, seed=seed)
        found = flips(planted, predictions(planted)[:, 0], seed).q <= 0.05
        shares.append((found & (effect == 0)).sum() / max(found.sum(), 1))
        found_true.append(found[effect > 0].mean())
    slack = float(3 * np.std(shares) / np.sqrt(size.repetitions))
    yield "discoveries: false among those at q = 0.05", float(np.mean(shares)), 0.0, 0.05 + slack
    yield "discoveries: power at q = 0.05", float(np.mean(found_true)), 0.5, 1.0


def power(size: Any) -> Result:
    """Share of planted heads found at family-wise 5% by effect; how well validation ranks them."""
    effects, heads = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 3.0]), min(size.heads, 240)
    effect = np.concatenate([effects, np.zeros(heads - len(effects))])
    repetitions = max(size.repetitions // 4, 10)
    found, precision = [], []
    for seed in range(repetitions):
        task = planted_task(240, 4, shares=(0.4, 0.2), seed=seed)
        planted = planted_activations(task, effect, width=4, seed=seed)
        tested = flips(planted, predictions(planted)[:, 0], seed)
        found.append(tested.p_familywise[: len(effects)] <= 0.05)
        chosen_on = predictions(planted, score=VALIDATION)[:, 0]
        accuracy = (chosen_on == task.labels[task.split == VALIDATION]).mean(axis=1)
        strong = effect >= 1.5
        precision.append(average_precision_score(strong[effect != 0.5], accuracy[effect != 0.5]))
    share = np.mean(found, axis=0)
    rows = 96 * 4
    for value, one in zip(share, effects, strict=True):
        # Theory: accuracy of the ideal probe minus that of the majority, over its standard error,
        # against the threshold of Bonferroni; the bounds allow for an imperfect probe.
        accuracy = float(accuracy_of(one))
        spread = np.sqrt(accuracy * (1 - accuracy) / rows + 0.25 / rows)
        at = norm.isf(0.05 / heads) * np.sqrt(0.5 / rows)
        slack = 3 * 0.5 / np.sqrt(repetitions)
        low = float(norm.sf((at - (accuracy - 0.5 - 0.03)) / spread)) - slack
        high = float(norm.sf((at - (accuracy - 0.5 + 0.01)) / spread)) + slack
        bounds = (round(max(low, 0.0), 3), round(min(high, 1.0), 3))
        if one == 0:
            bounds = (0.0, 0.05)
        yield f"power: share found at effect {one}, accuracy {accuracy:.2f}", float(value), *bounds
    yield "power: average precision of the ranking", float(np.mean(precision)), 0.95, 1.0
