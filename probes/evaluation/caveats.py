"""Caveats: what the reader of a map has to know, as sentences, where it applies."""

from __future__ import annotations

import numpy as np

from probes.corpora.corpus import TRAIN
from probes.evaluation.scored_rows import ScoredRows
from probes.results.findings import MapTestSummary
from probes.results.vocabulary.comparators import MAJORITY
from probes.statistics.bootstrap import few_groups
from probes.statistics.groups import Array
from probes.statistics.maps import MapEvidence

RARE = 10
"""Scored rows below which the recall of a class is too rough to interpret."""


def task_caveats(scored: ScoredRows, group_name: str, level: float) -> list[str]:
    """About the scored rows: few groups, rare classes, classes that one group holds alone."""
    caveats = []
    task, groups = scored.task, len(scored.groups)
    few = few_groups(groups, group_name)
    if few:
        caveats.append(f"{task.feature}: {few}.")
    smallest = 0.5**groups
    if smallest > level:
        caveats.append(
            f"{task.feature}: with {groups} {group_name}s in the reported split no p-value can be "
            f"below {smallest:.3g}; at the level of {level:g} nothing can be significant."
        )
    counts = np.bincount(scored.labels, minlength=len(task.classes))
    rare = [
        f"{name} ({count})"
        for name, count in zip(task.classes, counts, strict=True)
        if count < RARE
    ]
    if rare:
        caveats.append(
            f"{task.feature}: classes with fewer than {RARE} reported rows, whose recall and share "
            f"of the macro-F1 are rough: {', '.join(rare)}."
        )
    train = task.split == TRAIN
    pairs = np.unique(np.stack([task.labels[train], task.groups[train]]), axis=1)
    held = np.bincount(pairs[0], minlength=len(task.classes))  # groups that hold each class
    alone = [name for name, n in zip(task.classes, held, strict=True) if n == 1]
    if alone:
        caveats.append(
            f"{task.feature}: one training {group_name} holds all rows of {', '.join(alone)}; what "
            f"the probe learned there may be the {group_name}, not the class."
        )
    return caveats


def map_caveats(
    evidence: MapEvidence, control: Array | None, scored: ScoredRows, test: MapTestSummary
) -> list[str]:
    """About one map of heads: nothing significant, a control that is almost as good.

    control: (H, G) rows right on the control task.
    """
    name = f"{evidence.feature} ({evidence.probe})"
    caveats = []
    if not test.significant_familywise:
        caveats.append(
            f"{name}: no head is significant at the family-wise level of "
            f"{test.level:g}; the bright cells of this map are what chance gives among "
            f"{test.units} heads."
        )
    if control is not None:
        n = len(scored.labels)
        on_task, on_control = evidence.totals.sum(axis=1) / n, control.sum(axis=1) / n
        majority = scored.right(MAJORITY).mean()
        best = int(on_task.argmax())
        gain = on_task[best] - majority
        if gain > 0 and on_control[best] - majority > 0.8 * gain:
            caveats.append(
                f"{name}: the best head reaches {on_task[best]:.3f} on the task and "
                f"{on_control[best]:.3f} on its control, whose labels are random: most of its "
                "accuracy may be the probe's memory of words."
            )
    return caveats
