"""Metrics of many heads at once, each as a function of sums over groups.

A metric that is a function of sums can be resampled by whole groups with one matrix product: the
sums of a bootstrap draw are the draw's multiplicities times the sums of the groups. Everywhere,
``predicted`` (H, n) and ``labels`` (n,) hold class numbers, ``scores`` (H, n) rise with class 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp
from scipy.stats import rankdata

from probes.statistics.groups import Array, Codes, Groups

Finish = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class GroupSums:
    """One metric of H heads, as sums over G groups and the function that finishes them."""

    metric: str
    by_head: npt.NDArray[np.floating]
    """(H, G, K) sums that differ between heads (correct rows, true positives by class, ...)."""
    shared: npt.NDArray[np.floating]
    """(G, M) sums that depend on the labels alone (rows, rows by class)."""
    finish: Finish
    """(..., H, K) and (..., 1, M) totals -> (..., H) values; NaN where the metric is undefined."""

    @property
    def groups(self) -> int:
        return len(self.shared)

    def value(self) -> Array:
        """The metric itself: (H,)."""
        total = self.by_head.sum(axis=1, dtype=np.float64)  # (H, K)
        return self._finish(total, self.shared.sum(axis=0, dtype=np.float64))

    def resampled(self, multiplicity: npt.NDArray[np.floating]) -> Array:
        """The metric where group g counts ``multiplicity[b, g]`` times: (B, G) -> (B, H)."""
        total = np.tensordot(multiplicity, self.by_head, axes=(1, 1))  # (B, H, K)
        # Counts are exact in float32, their ratios are not: equal draws must stay equal.
        return self._finish(total.astype(np.float64), multiplicity @ self.shared)

    def without_each(self) -> Array:
        """The metric without group g, for each g (the jackknife): (G, H)."""
        total = self.by_head.sum(axis=1, dtype=np.float64, keepdims=True) - self.by_head
        shared = self.shared.sum(axis=0, dtype=np.float64) - self.shared
        return self._finish(total.swapaxes(0, 1), shared)  # (G, H, K), (G, M)

    def _finish(self, by_head: Array, shared: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.finish(by_head, shared[..., None, :])


def accuracy_sums(predicted: Codes, labels: Codes, groups: Groups) -> GroupSums:
    """Share of rows predicted right."""
    correct = groups.sum(predicted == labels)[..., None]  # (H, G, 1)
    rows = groups.sizes[:, None].astype(np.float64)
    return GroupSums("accuracy", correct, rows, lambda total, n: total[..., 0] / n[..., 0])


def balanced_accuracy_sums(
    predicted: Codes, labels: Codes, groups: Groups, classes: int
) -> GroupSums:
    """Mean recall of the classes that occur (scikit-learn's ``balanced_accuracy_score``)."""
    hits = _by_class(np.where(predicted == labels, labels, -1), groups, classes)

    def finish(total: Array, support: Array) -> Array:
        present = support > 0
        recall = np.where(present, total / support, 0.0)
        return recall.sum(axis=-1) / present.sum(axis=-1)

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
        return f1.sum(axis=-1) / present.sum(axis=-1)

    return GroupSums("macro_f1", both, _support(labels, groups, classes), finish)


def auroc_sums(scores: npt.NDArray[np.floating], labels: Codes, groups: Groups) -> GroupSums:
    """Area under the ROC curve of a binary task, ties counted half.

    The value is exact. Resampled, it is linear in the placements of each row among the rows of the
    other class (DeLong et al. 1988; Obuchowski 1997 for clusters): the bootstrap then is a matrix
    product instead of a sort for each draw and head, with an error that falls as one over the
    number of groups.
    """
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
        return np.clip((total / support).sum(axis=-1), 0.0, 1.0)

    return GroupSums("auroc", np.stack(by_class, axis=-1), _support(labels, groups, 2), finish)


def recalls(predicted: Codes, labels: Codes, classes: int) -> Array:
    """Share of each class's rows predicted right: (H, C), NaN for a class without rows."""
    everything = Groups.of(np.zeros(len(labels), dtype=np.int64))
    hits = _by_class(np.where(predicted == labels, labels, -1), everything, classes)[:, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        return hits.astype(np.float64) / np.bincount(labels, minlength=classes)


def log_loss_bits(logits: npt.NDArray[np.floating], labels: Codes) -> Array:
    """Bits needed to code each label under the probe: (H, n, C), (n,) -> (H, n)."""
    logits = logits.astype(np.float64)
    chosen = np.take_along_axis(logits, labels[None, :, None], axis=2)[..., 0]
    return (logsumexp(logits, axis=2) - chosen) / np.log(2)


def metric_sums(
    metric: str,
    predicted: Codes,
    labels: Codes,
    groups: Groups,
    classes: int,
    scores: npt.NDArray[np.floating] | None = None,
) -> GroupSums:
    """The sums of the metric of that name; ``auroc`` needs ``scores``."""
    if metric == "accuracy":
        return accuracy_sums(predicted, labels, groups)
    if metric == "balanced_accuracy":
        return balanced_accuracy_sums(predicted, labels, groups, classes)
    if metric == "macro_f1":
        return macro_f1_sums(predicted, labels, groups, classes)
    assert metric == "auroc" and scores is not None, metric
    return auroc_sums(scores, labels, groups)


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
    return _by_class(labels[None], groups, classes)[0]
