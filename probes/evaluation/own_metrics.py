"""Metrics of the user's own, named by ``evaluation.metrics``, beside those of ``METRICS``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from probes.core.errors import UserError
from probes.core.targets import load_target
from probes.corpora.tasks import Task
from probes.results.record import MetricRecord
from probes.results.vocabulary import QUANTITIES
from probes.statistics.group_sums import GroupSums
from probes.statistics.groups import Groups
from probes.statistics.metrics import METRICS, Metric
from probes.training.problems import Problem, Role

KEY = "evaluation.metrics"


def load_metrics(names: Sequence[str]) -> tuple[Metric, ...]:
    """All metrics of a run: those of ``METRICS``, and those that the names add.

    names: targets such as ``FILE.py:NAME`` (``core/targets.py``), each a ``Metric`` or a function
        of its ``sums``, which is called by its NAME in the results and is better where it is
        larger. Names of ``METRICS`` add nothing. Every target is tried on four rows of two classes,
        so that what is wrong with it is known before a model is run.

    Raises:
        UserError: a target cannot be loaded, its name is taken, or it does not return ``GroupSums``
            of the right shape.
    """
    metrics = dict(METRICS)
    for name in names:
        if name in METRICS:
            continue
        metric = _load(name)
        if metric.name in metrics or metric.name in QUANTITIES or not metric.name.isidentifier():
            raise UserError(
                f"{KEY}: {name} is called '{metric.name}', as another column or metric is",
                allowed="a name that results.csv does not use yet",
            )
        metrics[metric.name] = metric
    return tuple(metrics.values())


def check_on_rows(metrics: Sequence[Metric], task: Task, problems: Sequence[Problem]) -> None:
    """Try the user's own metrics on the rows of a feature that choose and that are scored.

    Every row is predicted right there: a metric without a value even then has none on these rows.

    Raises:
        UserError: the first metric and split without a value; nothing has been fitted yet.
    """
    real = [problem for problem in problems if problem.role is Role.REAL]
    for metric in _own(metrics):
        for split, which in (("validation", "select"), ("test", "score")):
            rows = np.any([getattr(problem, which) for problem in real], axis=0)
            labels, groups = task.labels[rows], Groups.of(task.groups[rows])
            classes = len(task.classes)
            scores = np.where(labels == 1, 1.0, -1.0)[None] if classes == 2 else None
            if not len(labels) or not metric.suits(classes, scores, labels):
                continue
            with np.errstate(all="ignore"):
                (value,) = metric(labels[None], labels, groups, classes, scores).value()
            if not np.isfinite(value):
                one_class = len(np.unique(labels)) < 2
                raise UserError(
                    f"{KEY}: '{metric.name}' is {value} on the {len(labels)} {split} rows of "
                    f"'{task.feature}'"
                    + (", which are all of one class" if one_class else "")
                    + ", though all are predicted right",
                    allowed="a metric that these rows have, or one with needs_both=True, which is "
                    "left out where there is one class",
                    fix=f"{KEY}=[], or split.source=group for other rows",
                )


def own_records(metrics: Sequence[Metric]) -> dict[str, MetricRecord]:
    """What ``run.json`` keeps of the user's own metrics, by name."""
    return {
        metric.name: MetricRecord(
            metric.label, metric.description, metric.better, metric.anchor, metric.anchor_label
        )
        for metric in _own(metrics)
    }


def _own(metrics: Sequence[Metric]) -> list[Metric]:
    return [metric for metric in metrics if METRICS.get(metric.name) is not metric]


def _load(text: str) -> Metric:
    target = load_target(text, key=KEY)
    name = text.replace(":", ".").rpartition(".")[2]
    if isinstance(target, Metric):
        metric = target
        if metric.better not in ("higher", "lower"):
            raise UserError(
                f"{KEY}: '{metric.name}' has better={metric.better!r}", allowed="higher, lower"
            )
    else:
        metric = Metric(name, label=name, description="", sums=target)
    _try(metric, text)
    return metric


def _try(metric: Metric, text: str) -> None:
    """Call it as a run does: one head, four rows in two groups, two classes."""
    predicted, labels = np.array([[0, 1, 1, 1]]), np.array([0, 1, 0, 1])
    groups = Groups.of(np.array([0, 0, 1, 1]))
    expected = (
        "(predicted (H, m), labels (m,), groups, classes, scores (H, m) or None) -> GroupSums"
    )
    try:
        sums = metric(predicted, labels, groups, 2, np.array([[-1.0, 0.5, 0.2, 2.0]]))
        if isinstance(sums, GroupSums):
            values = sums.value()
    except Exception as error:
        raise UserError(
            f"{KEY}: {text} raised {type(error).__name__} on four rows: {error}", allowed=expected
        ) from error
    if not isinstance(sums, GroupSums):
        raise UserError(
            f"{KEY}: {text} returned {type(sums).__name__}, not GroupSums", allowed=expected
        )
    if sums.by_unit.shape[:2] != (1, 2) or sums.shared.shape[:1] != (2,) or values.shape != (1,):
        raise UserError(
            f"{KEY}: {text} returned sums {sums.by_unit.shape} and {sums.shared.shape} with values "
            f"{values.shape} for one head and two groups",
            allowed="sums (H, G, K) and (G, M), finished to values (H,)",
        )
