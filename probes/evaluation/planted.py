"""Synthetic activations whose truth is known: which heads are informative, and how much.

Rows come in groups that share a shift of their activations and lean towards a class, as documents
do, so that tests that assume independent rows fail on them. Heads differ in scale by up to 1,000x,
as the heads of real models do. Used by tests and by ``benchmarks.truth``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from probes.corpora.corpus import TEST, TRAIN, VALIDATION, Level
from probes.corpora.tasks import Task


@dataclass(frozen=True)
class Planted:
    """Activations and the task that was planted in some of them."""

    z: npt.NDArray[np.float32]
    """(H, n, D)"""
    task: Task
    effect: npt.NDArray[np.float64]
    """(H,) distance between the classes of each head, in units of its noise; 0: nothing."""


def planted_task(
    groups: int = 60,
    rows: int | tuple[int, int] = 10,
    *,
    classes: int = 2,
    lean: float = 0.0,
    pure: bool = False,
    level: Level = "answer",
    types: int = 50,
    shares: tuple[float, float] = (0.5, 0.2),
    seed: int = 0,
) -> Task:
    """Labels in groups.

    rows: rows of each group, or the range they are drawn from. lean: 0 for independent labels;
    larger makes the classes of one group alike. pure: every group has one label. shares: of the
    groups, for train and validation; the rest is test.
    """
    random = np.random.default_rng(seed)
    low, high = (rows, rows) if isinstance(rows, int) else rows
    sizes = random.integers(low, high + 1, size=groups)
    group = np.repeat(np.arange(groups), sizes)
    n = len(group)
    share = random.dirichlet(np.full(classes, 1 / max(lean, 1e-9)), size=groups)
    if lean == 0:
        share = np.full((groups, classes), 1 / classes)
    draws = random.random(groups)[group] if pure else random.random(n)
    if pure:
        share = np.full((groups, classes), 1 / classes)
    labels = (draws[:, None] > share.cumsum(axis=1)[group]).sum(axis=1).clip(max=classes - 1)
    part = np.full(groups, TEST)
    first, second = round(shares[0] * groups), round(sum(shares) * groups)
    part[:first], part[first:second] = TRAIN, VALIDATION
    return Task(
        feature="planted",
        level=level,
        classes=tuple(f"class{c}" for c in range(classes)),
        rows=np.arange(n),
        labels=labels.astype(np.int64),
        split=part[group].astype(np.int8),
        groups=group.astype(np.int32),
        types=random.integers(0, types, size=n).astype(np.int32),
        examples=np.arange(n, dtype=np.int32),
        texts=np.arange(n, dtype=np.int32),
        dropped={},
    )


def planted_activations(
    task: Task,
    effect: npt.ArrayLike,
    *,
    width: int = 4,
    cluster: float = 0.0,
    scale_range: float = 1000.0,
    seed: int = 0,
) -> Planted:
    """Head outputs for a task: Gaussian noise, shifted along a random axis for each class.

    effect: (H,) length of the shift against noise of 1 in each direction. cluster: size of the
    shift that the rows of a group share. scale_range: ratio of the largest to the smallest head.
    """
    random = np.random.default_rng(seed + 1)
    effect = np.asarray(effect, dtype=np.float64)
    H, n, C = len(effect), len(task.labels), len(task.classes)
    z = random.normal(size=(H, n, width))
    if cluster:
        shifts = random.normal(size=(H, int(task.groups.max()) + 1, width))
        z += cluster * shifts[:, task.groups]
    axes = random.normal(size=(H, C, width))
    axes -= axes.mean(axis=1, keepdims=True)
    if C == 2:  # the means of the classes are ``effect`` apart
        axes /= 2 * np.linalg.norm(axes, axis=2, keepdims=True)
    z += effect[:, None, None] * axes[:, task.labels]
    z *= np.geomspace(1, scale_range, H)[random.permutation(H), None, None]
    return Planted(z.astype(np.float32), task, effect)


def accuracy_of(effect: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The best possible accuracy on two equally frequent classes, ``effect`` apart."""
    from scipy.special import ndtr

    accuracy: npt.NDArray[np.float64] = ndtr(np.asarray(effect) / 2)
    return accuracy


def duplicated(planted: Planted, copies: int, *, seed: int = 0) -> Planted:
    """Every row ``copies`` times, in groups that hold the copies of one row, in random order."""
    random = np.random.default_rng(seed)
    source = random.permutation(np.repeat(np.arange(len(planted.task.labels)), copies))
    task = planted.task
    repeated = replace(
        task,
        rows=np.arange(len(source)),
        labels=task.labels[source],
        split=task.split[source],
        groups=source.astype(np.int32),
        types=task.types[source],
        examples=np.arange(len(source), dtype=np.int32),
        texts=source.astype(np.int32),
    )
    return replace(planted, z=planted.z[:, source], task=repeated)
