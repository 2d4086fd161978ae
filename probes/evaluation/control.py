"""Control tasks: what a probe reaches by memorising, whatever the activations encode.

Hewitt and Liang (2019): a probe is selective if it is accurate on the task and inaccurate on a
control task of the same shape whose labels are random. Selectivity is the difference.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from probes.corpora.corpus import TEXT_LEVELS, TRAIN
from probes.corpora.tasks import Task
from probes.evaluation.permutations import grouped_labels
from probes.statistics.permutation import permuted_labels


def control_labels(task: Task, *, seed: int) -> npt.NDArray[np.int64]:
    """Labels of the control task for every row: (n,).

    Words and spans: each type (case-folded text) gets one class for all splits, drawn from the
    class distribution of the training rows. A head does well on it by telling words apart, which is
    what memorising takes; the classes of types that do not occur in training can only be guessed.
    Sentences and answers: labels are exchanged between groups within each split
    (``statistics/permutation.py``), since whole texts hardly recur; on test only chance remains.
    """
    if task.level in TEXT_LEVELS:
        (labels,) = permuted_labels(grouped_labels(task), 1, seed=seed)
        return np.asarray(labels, dtype=np.int64)
    random = np.random.default_rng(seed)
    share = task.counts(TRAIN) / task.counts(TRAIN).sum()
    types = np.unique(task.types)
    # Drawn by sorted type, so that rows that are left out elsewhere change nothing.
    drawn = random.choice(len(task.classes), size=len(types), p=share)
    return np.asarray(drawn[np.searchsorted(types, task.types)], dtype=np.int64)
