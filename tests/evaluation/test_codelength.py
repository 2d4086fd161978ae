"""Online codelength against a direct computation, block after block, with scikit-learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn import metrics as oracle
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from probes.corpora.corpus import TRAIN, VALIDATION
from probes.corpora.tasks import Task
from probes.evaluation.codelength import (
    FRACTIONS,
    block_bits,
    codelength,
    codelength_blocks,
    codelength_problems,
    log_loss_bits,
)
from probes.evaluation.planted import planted_activations, planted_task
from probes.solver import fit_logistic


def problem_bits(
    z: npt.NDArray[np.float32], task: Task, blocks: npt.NDArray[np.int64], l2: float = 10.0
) -> npt.NDArray[np.float64]:
    """(H, S - 1) by the project's solver."""
    bits = []
    for problem in codelength_problems(task, blocks):
        weights = torch.from_numpy(problem.train).float()[None]
        labels = torch.from_numpy(problem.labels)[None]
        fit = fit_logistic(torch.from_numpy(z), labels, weights, [l2], classes=len(task.classes))
        x = torch.from_numpy(z[:, problem.score])
        logits = (x @ fit.weight[:, 0, 0].mT + fit.bias[:, 0, 0, None]).numpy()
        if logits.shape[2] == 1:
            logits = np.concatenate([np.zeros_like(logits), logits], axis=2)
        scored = problem.labels[problem.score]
        bits.append(block_bits(logits, scored, int(problem.train.sum())))
    return np.stack(bits, axis=1)


def test_equals_a_direct_computation() -> None:
    task = planted_task(300, 4, classes=3)
    z = planted_activations(task, [0.0, 3.0]).z
    blocks = codelength_blocks(task, seed=0)
    got = codelength(problem_bits(z, task, blocks), blocks, 3)
    for head in range(2):
        total = 0.0
        for block in range(blocks.max() + 1):
            rows = np.flatnonzero(blocks == block)
            sent = np.flatnonzero((blocks >= 0) & (blocks < block))
            if block == 0:
                total += len(rows) * np.log2(3)
                continue
            scaler = StandardScaler().fit(z[head][sent].astype(float))
            model = LogisticRegression(C=1 / 10, tol=1e-8, max_iter=2000)
            model.fit(scaler.transform(z[head][sent].astype(float)), task.labels[sent])
            p = np.zeros((len(rows), 3))
            p[:, model.classes_] = model.predict_proba(scaler.transform(z[head][rows]))
            p = p[np.arange(len(rows)), task.labels[rows]]
            total -= np.log2((len(sent) * p + 1) / (len(sent) + 3)).sum()
        assert got.bits[head] == pytest.approx(total, rel=2e-3)
    assert got.uniform == pytest.approx((task.split == TRAIN).sum() * np.log2(3))
    noise, informative = got.compression
    assert 0.9 < noise < 1.02 < 1.5 < informative


def test_blocks_follow_the_fractions_and_never_divide_a_group() -> None:
    task = planted_task(2000, (1, 9))
    blocks, train = codelength_blocks(task, seed=1), task.split == TRAIN
    assert (blocks[~train] == -1).all() and (blocks[train] >= 0).all()
    ends = np.cumsum(np.bincount(blocks[train])) / train.sum()
    np.testing.assert_allclose(ends, FRACTIONS, atol=0.002)
    for group in np.unique(task.groups[train]):
        assert len(np.unique(blocks[task.groups == group])) == 1


def test_few_groups_make_fewer_blocks() -> None:
    task = planted_task(10, 50)
    blocks = codelength_blocks(task, seed=0)
    present = np.unique(blocks[blocks >= 0])
    np.testing.assert_array_equal(present, np.arange(len(present)))  # none is empty
    assert len(present) <= 5


def test_the_first_block_waits_for_a_second_class() -> None:
    task = planted_task(400, 3, pure=True)
    rare = task.groups == task.groups[task.split == TRAIN].max()
    task = replace(task, labels=rare.astype(np.int64))
    for seed in range(5):
        blocks = codelength_blocks(task, seed=seed)
        assert len(np.unique(task.labels[blocks == 0])) == 2


def test_problems_train_on_what_was_sent() -> None:
    task = planted_task(500, 2)
    blocks = codelength_blocks(task, seed=0)
    problems = codelength_problems(task, blocks)
    assert len(problems) == blocks.max()
    for number, problem in enumerate(problems, start=1):
        np.testing.assert_array_equal(problem.score, blocks == number)
        np.testing.assert_array_equal(problem.train, (blocks >= 0) & (blocks < number))
        np.testing.assert_array_equal(problem.select, task.split == VALIDATION)


def test_a_class_never_seen_costs_finitely_many_bits() -> None:
    logits = np.array([[[50.0, -1e6]]])
    assert block_bits(logits, np.array([1]), sent=14)[0] == pytest.approx(np.log2(16))


def test_smoothing_vanishes_with_rows() -> None:
    logits, labels = np.random.default_rng(0).normal(size=(1, 100, 2)), np.zeros(100, dtype=int)
    plain = np.log2(1 + np.exp(logits[0, :, 1] - logits[0, :, 0])).sum()
    assert block_bits(logits, labels, sent=10**6)[0] == pytest.approx(plain, rel=1e-4)


def test_log_loss_in_bits() -> None:
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(2, 50, 3)) * 5, random.integers(0, 3, 50)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    expected = [oracle.log_loss(labels, p, labels=range(3)) / np.log(2) for p in probabilities]
    np.testing.assert_allclose(log_loss_bits(logits, labels).mean(axis=1), expected)


def test_log_loss_survives_huge_logits() -> None:
    logits = np.array([[[1e4, -1e4]]], dtype=np.float32)
    assert log_loss_bits(logits, np.array([1]))[0, 0] == pytest.approx(2e4 / np.log(2))
