"""Known truth about probes: leaks, word types, effort, erasure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from probes.corpora.corpus import TEST, TRAIN
from probes.corpora.splits import group_folds
from probes.evaluation.codelength import (
    block_bits,
    codelength,
    codelength_blocks,
    codelength_problems,
)
from probes.evaluation.control import control_labels
from probes.evaluation.planted import (
    Planted,
    accuracy_of,
    duplicated,
    planted_activations,
    planted_task,
)
from probes.interventions.erasure import fit_eraser
from probes.solver import fit_logistic

L2 = 10.0


def logits(
    z: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    train: npt.NDArray[np.bool_],
    score: npt.NDArray[np.bool_],
    classes: int = 2,
    l2: float = L2,
) -> npt.NDArray[np.float32]:
    """Fit every head on labels (P, n) and give the logits of the scored rows: (H, P, m, C)."""
    x = torch.from_numpy(z)
    fit = fit_logistic(
        x[:, train], torch.from_numpy(labels[:, train]), torch.ones(len(labels), int(train.sum())),
        [l2], classes=classes, tolerance=1e-3,
    )  # fmt: skip
    scores = torch.einsum("hnd,hpcd->hpnc", x[:, score], fit.weight[:, :, 0])
    scores = scores + fit.bias[:, :, 0][:, :, None]
    if classes == 2:
        scores = torch.cat([torch.zeros_like(scores), scores], dim=-1)
    return scores.numpy()


def predictions(
    planted: Planted, labels: npt.NDArray[np.int64] | None = None, score: int = TEST
) -> npt.NDArray[np.int64]:
    """Classes that the heads give the rows of one split: (H, P, m)."""
    task = planted.task
    labels = task.labels[None] if labels is None else labels
    found = logits(planted.z, labels, task.split == TRAIN, task.split == score, len(task.classes))
    return found.argmax(axis=-1)


def leakage(size: Any) -> Iterator[tuple[str, float, float, float]]:
    """Copies of rows in several groups: a split by row remembers them, one by group does not."""
    heads = min(size.heads, 64)
    by_row, by_group, expected = [], [], []
    for seed in range(5):
        # 60 rows in 100 dimensions: every labelling can be learned by heart.
        task = planted_task(60, 1, seed=seed)
        planted = duplicated(planted_activations(task, np.zeros(heads), width=100, seed=seed), 3)
        copies, labels = planted.task.groups, planted.task.labels[None]
        random = np.random.default_rng(seed)
        for folds, found in (
            (random.permutation(len(copies)) % 5, by_row),
            (group_folds(copies, 5, seed), by_group),
        ):
            test = folds == 0
            guess = logits(planted.z, labels, ~test, test, l2=1e-2).argmax(-1)[:, 0]
            found.append((guess == labels[0, test]).mean())
            if found is by_row:
                known = np.isin(copies[test], copies[~test]).mean()
                expected.append(known + (1 - known) / 2)
    yield "leakage: split by group, nothing to find", float(np.mean(by_group)), 0.45, 0.55
    low, high = np.mean(expected) - 0.02, np.mean(expected) + 0.02
    yield "leakage: split by row remembers copies", float(np.mean(by_row)), low, high


def control(size: Any) -> Iterator[tuple[str, float, float, float]]:
    """A head that only tells words apart is not selective; one that carries the class is."""
    task = planted_task(300, 10, level="word", types=40)
    random = np.random.default_rng(0)
    by_type = random.integers(0, 2, 40)  # the class of a word is mostly that of its type
    labels = np.where(random.random(len(task.labels)) < 0.95, by_type[task.types], task.labels)
    task = replace(task, labels=labels)
    words = random.normal(size=(40, 64))[task.types] + 0.1 * random.normal(size=(len(labels), 64))
    classes = planted_activations(task, [4.0], width=64).z[0]
    z = np.stack([words, classes]).astype(np.float32)
    test = task.split == TEST
    both = np.stack([labels, control_labels(task, seed=0)])
    guess = logits(z, both, task.split == TRAIN, test).argmax(-1)  # (2, P, m)
    accuracy = (guess == both[:, test]).mean(axis=-1)
    selectivity = accuracy[:, 0] - accuracy[:, 1]
    ceiling = float(accuracy_of(4.0))
    yield "control: accuracy of a head of word types", float(accuracy[0, 0]), 0.94, 1.0
    yield "control: selectivity of a head of word types", float(selectivity[0]), -0.05, 0.05
    yield "control: accuracy of a head of the class", float(accuracy[1, 0]), ceiling - 0.05, 1.0
    yield "control: selectivity of a head of the class", float(selectivity[1]), 0.25, 0.6


def codelengths(size: Any) -> Iterator[tuple[str, float, float, float]]:
    """Noise costs what the uniform code costs; the code of a planted head nears its entropy."""
    task = planted_task(600, 5)
    effect = 3.0
    z = planted_activations(task, [0.0, effect], width=8).z
    blocks = codelength_blocks(task, seed=0)
    bits = []
    for problem in codelength_problems(task, blocks):
        found = logits(z, problem.labels[None], problem.train, problem.score)[:, 0]
        bits.append(block_bits(found, problem.labels[problem.score], int(problem.train.sum())))
    noise, informative = codelength(np.stack(bits, axis=1), blocks, 2).compression
    # Bits that are left when the effect is known: E log2(1 + exp(-effect * t)), t ~ N(effect/2, 1).
    t = np.random.default_rng(0).normal(effect / 2, 1, 100_000)
    limit = 1 / np.mean(np.log2(1 + np.exp(-effect * t)))
    yield "codelength: compression of noise", float(noise), 0.95, 1.01
    yield "codelength: compression at effect 3", float(informative), 0.7 * limit, 1.05 * limit


def erasure(size: Any) -> Iterator[tuple[str, float, float, float]]:
    """After LEACE the probe falls to the majority; a feature beside it stays."""
    task = planted_task(400, 5)
    random = np.random.default_rng(0)
    other = random.integers(0, 2, len(task.labels))
    z = planted_activations(task, np.full(8, 3.0), width=16).z
    second = planted_activations(replace(task, labels=other), np.full(8, 3.0), width=16, seed=1).z
    z, train, test = z + second, task.split == TRAIN, task.split == TEST
    x = torch.from_numpy(z)
    eraser = fit_eraser(x[:, train], torch.from_numpy(task.labels[train]), classes=2)
    both = np.stack([task.labels, other])
    for name, rows, low, high in (("before", z, 0.7, 1.0), ("after", eraser(x).numpy(), 0.0, 0.02)):
        guess = logits(rows, both, train, test).argmax(-1)
        erased, kept = (guess == both[:, test]).mean(axis=(0, 2))
        gain = float(erased) - (task.majority[1] if name == "after" else 0.0)
        what = "gain over majority" if name == "after" else "accuracy"
        yield f"erasure: {what} of the erased feature {name}", gain, low if low else -0.02, high
        yield f"erasure: accuracy of another feature {name}", float(kept), 0.7, 1.0
