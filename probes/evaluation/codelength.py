"""Online codelength: how many bits the labels cost, given the activations (Voita and Titov 2020).

Labels are sent in blocks. The first block is sent with a uniform code; each next one with a probe
trained on all blocks before it. A probe that is easy to learn codes well early, so the length
measures effort as well as accuracy: a random label costs what a uniform code costs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from probes.corpora.corpus import TRAIN, VALIDATION
from probes.corpora.tasks import Task
from probes.statistics.groups import Array, Codes, Groups
from probes.training.problems import Problem, Role

FRACTIONS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)
"""Ends of the blocks as shares of the training rows, as in the paper."""


@dataclass(frozen=True)
class Codelength:
    """Bits that sending the training labels takes, for each head."""

    bits: Array
    """(H,)"""
    uniform: float
    """Bits that the uniform code needs."""

    @property
    def compression(self) -> Array:
        """(H,) uniform over online: 1 means that the head does not help."""
        return self.uniform / self.bits


def codelength_blocks(task: Task, *, seed: int) -> npt.NDArray[np.int64]:
    """Block number of each row, -1 outside train: (n,).

    Groups are shuffled and never divided, so that a probe does not code rows of a document that
    it was trained on; a block ends with the group nearest to its share of the rows. The first
    block goes on until two classes have occurred; blocks left empty are skipped.
    """
    train = np.flatnonzero(task.split == TRAIN)
    groups = Groups.of(task.groups[train])
    order = np.random.default_rng(seed).permutation(len(groups))
    ends = np.cumsum(groups.sizes[order])  # (G,) rows sent after each group
    first_label = task.labels[train][groups.index == order[0]][0]
    differs = np.zeros(len(groups), dtype=bool)
    np.logical_or.at(differs, groups.index, task.labels[train] != first_label)
    least = int(np.argmax(differs[order])) + 1  # groups until a second class occurs
    cuts = []
    for fraction in FRACTIONS:
        nearest = int(np.argmin(np.abs(ends - fraction * len(train)))) + 1
        cuts.append(max(nearest, least))
    cuts[-1] = len(groups)
    block_in_order = np.searchsorted(np.unique(cuts), np.arange(len(groups)), side="right")
    block_of_group = np.empty(len(groups), dtype=np.int64)
    block_of_group[order] = block_in_order
    blocks = np.full(len(task.labels), -1, dtype=np.int64)
    blocks[train] = block_of_group[groups.index]
    return blocks


def codelength_problems(task: Task, blocks: npt.NDArray[np.int64]) -> tuple[Problem, ...]:
    """One problem for each block after the first: train on what was sent, score the block.

    Each chooses its penalty (or epochs) on the validation rows, which are not sent: what suits all
    rows overfits the first few, and an informative head would look worse than the uniform code.
    """
    validation = task.split == VALIDATION
    labels = np.asarray(task.labels, dtype=np.int64)
    return tuple(
        Problem(
            Role.CODELENGTH,
            labels,
            train=(blocks >= 0) & (blocks < block),
            select=validation,
            score=blocks == block,
            index=block,
        )
        for block in range(1, int(blocks.max()) + 1)
    )


def log_loss_bits(logits: npt.NDArray[np.floating], labels: Codes) -> Array:
    """Bits needed to code each label under the probe: (H, n, C), (n,) -> (H, n)."""
    logits = logits.astype(np.float64)
    chosen = np.take_along_axis(logits, labels[None, :, None], axis=2)[..., 0]
    bits: Array = (logsumexp(logits, axis=2) - chosen) / np.log(2)
    return bits


def block_bits(logits: npt.NDArray[np.floating], labels: Codes, sent: int) -> Array:
    """Bits of one block under a probe trained on ``sent`` rows: (H, m, C), (m,) -> (H,).

    Probabilities are mixed with the uniform distribution as if each class had been seen once more:
    ``(sent * p + 1) / (sent + C)``. A class that the probe has not met yet then costs a finite
    number of bits; after a few hundred rows the mixture changes nothing.
    """
    classes = logits.shape[2]
    p = np.exp2(-log_loss_bits(logits, labels))  # (H, m)
    bits: Array = -np.log2((sent * p + 1) / (sent + classes)).sum(axis=1)
    return bits


def codelength(bits: Array, blocks: npt.NDArray[np.int64], classes: int) -> Codelength:
    """Sum the bits (H, S - 1) of all blocks after the first, which costs the uniform code."""
    rows = int((blocks >= 0).sum())
    first = int((blocks == 0).sum())
    return Codelength(bits.sum(axis=1) + first * np.log2(classes), rows * float(np.log2(classes)))
