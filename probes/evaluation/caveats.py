"""What the reader of a map has to know, in plain words, where it applies."""

from __future__ import annotations

import numpy as np

from probes.corpora.corpus import TRAIN
from probes.corpora.tasks import Task
from probes.evaluation.chunk_rows import ChunkResult, Reported
from probes.results.findings import MapTestSummary
from probes.statistics.bootstrap import few_groups

RARE = 10
"""Reported rows below which the recall of a class says little."""


def task_caveats(task: Task, reported: Reported, group_name: str, level: float) -> list[str]:
    """About the reported rows: few groups, rare classes, classes that one group holds alone."""
    found = []
    groups = len(reported.groups)
    few = few_groups(groups, group_name)
    if few:
        found.append(f"{task.feature}: {few}.")
    smallest = 0.5**groups
    if smallest > level:
        found.append(
            f"{task.feature}: with {groups} {group_name}s in the reported split no p-value can be "
            f"below {smallest:.3g}; at the level of {level:g} nothing can be significant."
        )
    counts = np.bincount(reported.labels, minlength=len(task.classes))
    rare = [
        f"{name} ({count})"
        for name, count in zip(task.classes, counts, strict=True)
        if count < RARE
    ]
    if rare:
        found.append(
            f"{task.feature}: classes with fewer than {RARE} reported rows, whose recall and share "
            f"of the macro-F1 are rough: {', '.join(rare)}."
        )
    train = task.split == TRAIN
    pairs = np.unique(np.stack([task.labels[train], task.groups[train]]), axis=1)
    held = np.bincount(pairs[0], minlength=len(task.classes))  # groups that hold each class
    alone = [name for name, n in zip(task.classes, held, strict=True) if n == 1]
    if alone:
        found.append(
            f"{task.feature}: one training {group_name} holds all rows of {', '.join(alone)}; what "
            f"the probe learned there may be the {group_name}, not the class."
        )
    return found


def map_caveats(
    key: tuple[str, str, str],
    chunks: list[ChunkResult],
    reported: Reported,
    test: MapTestSummary,
) -> list[str]:
    """About one map of heads: nothing found, a control that is almost as good."""
    feature, _, probe = key
    found = []
    if not test.significant_familywise:
        found.append(
            f"{feature} ({probe}): no head is significant at the family-wise level of "
            f"{test.level:g}; the bright cells of this map are what chance gives among "
            f"{test.units} heads."
        )
    if chunks[0].control_correct is not None:
        n = len(reported.labels)
        real = np.concatenate([chunk.correct.sum(axis=1) for chunk in chunks]) / n
        control = np.concatenate(
            [c.control_correct.sum(axis=1) for c in chunks if c.control_correct is not None]
        ) / n  # fmt: skip
        majority = reported.right("majority").mean()
        best = int(real.argmax())
        if real[best] > majority and control[best] - majority > 0.8 * (real[best] - majority):
            found.append(
                f"{feature} ({probe}): the best head reaches {real[best]:.3f} on the task and "
                f"{control[best]:.3f} on its control, whose labels are random: most of its "
                "accuracy may be the probe's memory of words."
            )
    return found
