"""LEACE: nothing linear is left of the feature, and little else is touched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from probes.corpora.corpus import TRAIN
from probes.corpora.tasks import Task
from probes.evaluation.planted import planted_activations, planted_task
from probes.interventions.erasure import Eraser, fit_eraser
from probes.solver import fit_logistic


def erased(
    classes: int, width: int = 8, groups: int = 150, effects: tuple[float, ...] = (4.0, 2.0)
) -> tuple[Task, torch.Tensor, Eraser]:
    task = planted_task(groups, 6, classes=classes)
    # Unequal classes: the majority is more than one in C.
    task = replace(task, labels=np.where(np.arange(len(task.labels)) % 4 == 0, 0, task.labels))
    z = torch.from_numpy(planted_activations(task, effects, width=width).z)
    train = torch.from_numpy(task.split == TRAIN)
    eraser = fit_eraser(z[:, train], torch.from_numpy(task.labels)[train], classes=classes)
    return task, z, eraser


@pytest.mark.parametrize("classes", [2, 5])
def test_linear_probe_falls_to_the_majority(classes: int) -> None:
    task, z, eraser = erased(classes)
    after, train = eraser(z), task.split == TRAIN
    majority = task.counts(TRAIN).max() / train.sum()
    for before, clean in zip(z.double().numpy(), after.double().numpy(), strict=True):
        for x, falls in ((before, False), (clean, True)):
            x = StandardScaler().fit_transform(x[train])
            accuracy = LogisticRegression(C=100).fit(x, task.labels[train]).score(
                x, task.labels[train]
            )  # fmt: skip
            assert (accuracy == pytest.approx(majority, abs=1e-9)) == falls


def test_our_probe_falls_to_the_majority_on_test_too() -> None:
    task, z, eraser = erased(3, groups=600)
    labels, train = torch.from_numpy(task.labels), torch.from_numpy(task.split == TRAIN)
    fit = fit_logistic(eraser(z), labels[None], train.float()[None], [1.0], classes=3)
    logits = eraser(z) @ fit.weight[:, 0, 0].mT + fit.bias[:, 0, 0, None]
    majority = task.majority[1]
    test = task.split == 2
    accuracy = (logits.argmax(-1) == labels)[:, test].float().mean(dim=1)
    np.testing.assert_allclose(accuracy, majority, atol=0.02)


def test_class_means_coincide() -> None:
    task, z, eraser = erased(4)
    after, train = eraser(z.double()), torch.from_numpy(task.split == TRAIN)
    means = torch.stack(
        [after[:, train & torch.from_numpy(task.labels == c)].mean(dim=1) for c in range(4)]
    )
    scale = after.std(dim=1)
    assert ((means - means[0]).abs() / scale).max() < 1e-4


def test_least_change_among_affine_maps() -> None:
    # LEACE is optimal in the whitened norm; projecting out the class means is worse.
    task, z, _ = erased(3)
    x = z[0].double()
    train = torch.from_numpy(task.split == TRAIN)
    x = x[train]
    labels = torch.from_numpy(task.labels)[train]
    means = torch.stack([x[labels == c].mean(0) for c in range(3)])
    means = means - x.mean(0)
    basis = torch.linalg.svd(means.T, full_matrices=False)[0][:, :2]
    naive = x - (x - x.mean(0)) @ basis @ basis.T
    whiten = torch.linalg.inv(torch.linalg.cholesky(torch.cov(x.T)))
    ours = fit_eraser(x[None], labels, classes=3)(x[None])[0]

    def cost(changed: torch.Tensor) -> float:
        return float(((changed - x) @ whiten.T).pow(2).sum())

    assert cost(ours) <= cost(naive) * (1 + 1e-9)


def test_constant_and_duplicate_directions() -> None:
    task, z, _ = erased(2)
    z = torch.cat([z, z[..., :1], torch.zeros_like(z[..., :1])], dim=2)  # rank deficient
    train = torch.from_numpy(task.split == TRAIN)
    eraser = fit_eraser(z[:, train], torch.from_numpy(task.labels)[train], classes=2)
    after = eraser(z)
    assert torch.isfinite(after).all()
    assert (after[..., -1] == 0).all()


def test_rank_is_at_most_classes_less_one() -> None:
    _, _, eraser = erased(5)
    product = eraser.reads @ eraser.writes
    assert (torch.linalg.matrix_rank(product.double(), rtol=1e-5) <= 4).all()


def test_heads_do_not_touch_each_other() -> None:
    task, z, eraser = erased(3)
    train = torch.from_numpy(task.split == TRAIN)
    alone = fit_eraser(z[1:, train], torch.from_numpy(task.labels)[train], classes=3)
    torch.testing.assert_close(alone(z[1:]), eraser(z)[1:], rtol=1e-4, atol=1e-4)
