"""Metrics of classification, of many heads at once and as sums over groups (``group_sums.py``).

``METRICS`` is the table of all that a run measures; a row there is all that a metric needs.
Everywhere, ``predicted`` (H, n) and ``labels`` (n,) hold class numbers, ``scores`` (H, n) rise
with class 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from probes.statistics.group_sums import GroupSums, mean_sums
from probes.statistics.groups import Array, Codes, Groups

Scores = npt.NDArray[np.floating] | None
SumsFunction = Callable[[Codes, Codes, Groups, int, Scores], GroupSums]


@dataclass(frozen=True)
class Metric:
    """A metric of classification: how it is computed, and how its values are read."""

    name: str
    """As in the column ``metric`` of the results."""
    label: str
    """On maps and in headers."""
    description: str
    """One sentence, shown with its map."""
    sums: SumsFunction
    """``(predicted (H, m), labels (m,), groups, classes, scores (H, m) or None) -> GroupSums``."""
    better: Literal["higher", "lower"] = "higher"
    """Which values are good."""
    anchor: float | None = None
    """Where a head knows nothing; ``None``: what always answering the majority class reaches."""
    anchor_label: str = "majority"
    """What reaches the anchor."""
    uniform: bool = False
    """Whether the anchor is one over the number of classes where the majority was not measured."""
    binary_only: bool = False
    """Whether it is left out where there are more than two classes."""
    needs_scores: bool = False
    """Whether it is left out where there are only predicted classes. There are ``scores`` of tasks
    with two classes; they rise with class 1."""

    needs_both: bool = False
    """Whether it is left out where the rows are all of one class."""

    def __call__(
        self, predicted: Codes, labels: Codes, groups: Groups, classes: int, scores: Scores = None
    ) -> GroupSums:
        """The metric of many heads at once, as sums over groups."""
        return self.sums(predicted, labels, groups, classes, scores)

    def suits(self, classes: int, scores: Scores, labels: Codes) -> bool:
        """Whether it can be measured on rows with such labels (m,) of such a task."""
        if self.needs_both and not (len(labels) and (labels != labels[0]).any()):
            return False
        if self.needs_scores and scores is None:
            return False
        return classes == 2 or not self.binary_only


def accuracy_sums(predicted: Codes, labels: Codes, groups: Groups) -> GroupSums:
    """Share of rows predicted right."""
    return mean_sums("accuracy", predicted == labels, groups)


def balanced_accuracy_sums(
    predicted: Codes, labels: Codes, groups: Groups, classes: int
) -> GroupSums:
    """Mean recall of the classes that occur (scikit-learn's ``balanced_accuracy_score``)."""
    hits = _by_class(np.where(predicted == labels, labels, -1), groups, classes)

    def finish(total: Array, support: Array) -> Array:
        present = support > 0
        recall = np.where(present, total / support, 0.0)
        mean: Array = recall.sum(axis=-1) / present.sum(axis=-1)
        return mean

    return GroupSums("balanced_accuracy", hits, _support(labels, groups, classes), finish)


def macro_f1_sums(predicted: Codes, labels: Codes, groups: Groups, classes: int) -> GroupSums:
    """Mean F1 of the classes that occur among labels or predictions.

    That is scikit-learn's ``f1_score(average="macro", zero_division=0)``: a class that is absent
    from a bootstrap draw, and never predicted there, is left out of that draw's mean.
    """
    hits = _by_class(np.where(predicted == labels, labels, -1), groups, classes)
    guesses = _by_class(predicted, groups, classes)
    both = np.concatenate([hits, guesses], axis=-1)  # (H, G, 2C)

    def finish(total: Array, support: Array) -> Array:
        occurrences = total[..., classes:] + support
        present = occurrences > 0
        f1 = np.where(present, 2 * total[..., :classes] / occurrences, 0.0)
        mean: Array = f1.sum(axis=-1) / present.sum(axis=-1)
        return mean

    return GroupSums("macro_f1", both, _support(labels, groups, classes), finish)


def auroc_sums(scores: Scores, labels: Codes, groups: Groups) -> GroupSums:
    """Area under the ROC curve of a binary task, ties counted half.

    The value is exact. Resampled, it is linear in the placements of each row among the rows of the
    other class (DeLong et al. 1988; Obuchowski 1997 for clusters): the bootstrap then is a matrix
    product instead of a sort for each draw and head, with an error that falls as one over the
    number of groups.
    """
    from scipy.stats import rankdata  # takes half a second, and METRICS is read with every table

    assert scores is not None, "a metric of the order of rows needs scores"
    positive = labels == 1
    ranks = rankdata(scores, axis=1)  # (H, n)
    placement = np.empty_like(ranks)
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        within = rankdata(scores[:, positive], axis=1)
        placement[:, positive] = (ranks[:, positive] - within) / n_negative
        within = rankdata(scores[:, ~positive], axis=1)
        placement[:, ~positive] = 1 - (ranks[:, ~positive] - within) / n_positive
        area = placement[:, positive].sum(axis=1) / n_positive  # (H,)
    # Both sides average to the area; centring one lets a draw be their plain sum.
    placement[:, ~positive] -= area[:, None]
    by_class = [groups.sum(np.where(side, placement, 0.0)) for side in (~positive, positive)]

    def finish(total: Array, support: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):  # draws without a class
            area: Array = np.clip((total / support).sum(axis=-1), 0.0, 1.0)
        return area

    return GroupSums("auroc", np.stack(by_class, axis=-1), _support(labels, groups, 2), finish)


def recalls(predicted: Codes, labels: Codes, classes: int) -> Array:
    """Share of each class's rows predicted right: (H, C), NaN for a class without rows."""
    everything = Groups.of(np.zeros(len(labels), dtype=np.int64))
    hits = _by_class(np.where(predicted == labels, labels, -1), everything, classes)[:, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        shares: Array = hits.astype(np.float64) / np.bincount(labels, minlength=classes)
    return shares


def _by_class(codes: Codes, groups: Groups, classes: int) -> npt.NDArray[np.float32]:
    """Rows of each group with each code, -1 counted nowhere: (H, n) -> (H, G, C)."""
    heads, size = len(codes), len(groups) * classes
    counts = np.empty((heads, size), dtype=np.float32)  # counts stay exact below 2**24
    for head in range(heads):  # one pass over n rows each: no (H, n) temporary of 8 bytes
        kept = codes[head] >= 0
        cells = groups.index[kept] * classes + codes[head][kept]
        counts[head] = np.bincount(cells, minlength=size)
    return counts.reshape(heads, len(groups), classes)


def _support(labels: Codes, groups: Groups, classes: int) -> npt.NDArray[np.float32]:
    counts: npt.NDArray[np.float32] = _by_class(labels[None], groups, classes)[0]
    return counts


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "accuracy",
            label="accuracy",
            description="Share of test rows that the head's probe labels correctly.",
            sums=lambda predicted, labels, groups, *_: accuracy_sums(predicted, labels, groups),
        ),
        Metric(
            "macro_f1",
            label="macro F1",
            description="Mean over classes of the F1 score: rare classes count as much as frequent "
            "ones.",
            sums=lambda predicted, labels, groups, classes, _: macro_f1_sums(
                predicted, labels, groups, classes
            ),
        ),
        Metric(
            "balanced_accuracy",
            label="balanced accuracy",
            description="Mean over classes of the recall.",
            sums=lambda predicted, labels, groups, classes, _: balanced_accuracy_sums(
                predicted, labels, groups, classes
            ),
            uniform=True,
            binary_only=True,
        ),
        Metric(
            "auroc",
            label="AUROC",
            description="Area under the ROC curve; .5 is chance.",
            sums=lambda _, labels, groups, classes, scores: auroc_sums(scores, labels, groups),
            anchor=0.5,
            anchor_label="chance",
            binary_only=True,
            needs_scores=True,
            needs_both=True,
        ),
    )
}
"""All that is measured of a probe's predictions, in the order of the results: where a task has
what the metric needs. The accuracy is first: heads are chosen and tested by it."""
