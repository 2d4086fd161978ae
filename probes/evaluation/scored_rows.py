"""The rows of a feature that are scored, with its baselines and the draws of the bootstrap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probes.corpora.tasks import Task
from probes.evaluation.baselines import Predictions
from probes.statistics.bootstrap import Draws
from probes.statistics.groups import Array, Groups
from probes.statistics.metrics import METRICS, Metric
from probes.training.problems import Problem


@dataclass(frozen=True)
class ScoredRows:
    """What all heads of a feature are scored on, and compared with there."""

    task: Task
    rows: npt.NDArray[np.int64]
    """(m,) rows of the task that are scored: test, or all of them under cross-validation."""
    labels: npt.NDArray[np.int64]
    """(m,)"""
    groups: Groups
    baselines: dict[str, Predictions]
    """(m,) predicted classes by name: the majority, and what the words alone give."""
    draws: Draws | None
    """The same for all heads and metrics; ``None``: no intervals."""
    folds: bool
    """Whether the rows were scored by cross-validation."""
    metrics: tuple[Metric, ...]
    """What is measured, the accuracy first."""
    left_out: tuple[Metric, ...] = ()
    """What the task has, but not these rows: all of them are of one class."""

    @classmethod
    def of(
        cls,
        task: Task,
        real: Sequence[Problem],
        predicted: Mapping[str, Predictions],
        draws: Draws | None,
        metrics: Sequence[Metric] = tuple(METRICS.values()),
    ) -> ScoredRows:
        """From the real problem (or its folds) and predictions (n,) of the baselines."""
        rows = np.flatnonzero(np.any([problem.score for problem in real], axis=0))
        labels = task.labels[rows]
        one_class = len(np.unique(labels)) < 2
        binary = len(task.classes) == 2
        left_out = tuple(
            metric
            for metric in metrics
            if one_class and metric.needs_both and (binary or not metric.binary_only)
        )
        return cls(
            task=task,
            rows=rows,
            labels=labels,
            groups=Groups.of(task.groups[rows]),
            baselines={name: classes[rows] for name, classes in predicted.items()},
            draws=draws,
            folds=len(real) > 1,
            metrics=tuple(metric for metric in metrics if metric not in left_out),
            left_out=left_out,
        )

    def right(self, baseline: str) -> npt.NDArray[np.bool_]:
        """(m,) where the baseline is right."""
        right: npt.NDArray[np.bool_] = self.baselines[baseline] == self.labels
        return right

    def totals(self, baseline: str) -> Array:
        """(G,) rows of each group that the baseline gets right."""
        return self.groups.sum(self.right(baseline))
