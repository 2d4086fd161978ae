"""A metric of your own, in addition to those that every run measures.

    headprobes evaluation.metrics=[examples/my_metric.py:minority_accuracy]

A metric is a row: its name, what it is, and a function that gives it as sums over groups, from
which intervals follow. The column ``metric`` of the results has its name.
"""

from __future__ import annotations

import numpy as np

from probes.statistics.group_sums import GroupSums, mean_sums
from probes.statistics.groups import Codes, Groups
from probes.statistics.metrics import Metric, Scores


def sums(
    predicted: Codes, labels: Codes, groups: Groups, classes: int, scores: Scores
) -> GroupSums:
    """Right or wrong, predicted (H, n) against labels (n,); rows of the majority are left out."""
    majority = np.bincount(labels, minlength=classes).argmax()
    right = np.where(labels == majority, np.nan, predicted == labels)  # (H, n)
    return mean_sums("minority_accuracy", right, groups)


minority_accuracy = Metric(
    "minority_accuracy",
    label="minority accuracy",
    description="Share of the rows of all classes but the most frequent one that are right.",
    sums=sums,
    anchor=0.0,
    anchor_label="majority",
)
