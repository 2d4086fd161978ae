"""Permutations of a task's labels: what they respect, and whether there are enough for a test."""

from __future__ import annotations

import numpy as np

from probes.core.errors import UserError
from probes.corpora.corpus import TEXT_LEVELS
from probes.corpora.tasks import Task
from probes.statistics.permutation import GroupedLabels, exchange_of


def grouped_labels(task: Task) -> GroupedLabels:
    """The labels of a task by group and split; words have an order, whole texts have none."""
    ordered = task.level not in TEXT_LEVELS
    return GroupedLabels(task.labels, task.groups, task.split, ordered)


def check_permutations(task: Task, permutations: int, level: float) -> None:
    """Refuse a permutation test in which no head could reach ``level``.

    Raises:
        UserError: with the smallest p-value that can be reached.
    """
    smallest = exchange_of(grouped_labels(task)).smallest_p(permutations)
    if smallest <= level:
        return
    too_few = 1 / (1 + permutations) > level
    raise UserError(
        f"significance.permutations={permutations}: the smallest reachable p-value of feature "
        f"'{task.feature}' is {smallest:.3g}, above significance.level={level:g}"
        + ("" if too_few else " (the groups have too few distinct arrangements of their labels)"),
        fix=f"significance.permutations={int(np.ceil(1 / level)) - 1}"
        if too_few
        else f"a corpus with more groups, or significance.level={smallest:.2g}",
    )
