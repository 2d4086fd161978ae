"""Caveats: what the reader of a map has to know, as sentences, where it applies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from probes.config.run import PENALTIES, STRONGER, WEAKER
from probes.corpora.corpus import TRAIN
from probes.evaluation.scored_rows import ScoredRows
from probes.results.findings import MapTestSummary
from probes.results.subject import Subject
from probes.results.vocabulary.comparators import MAJORITY, is_comparator
from probes.results.vocabulary.methods import METHODS
from probes.results.vocabulary.sites import unit_of
from probes.statistics.bootstrap import few_groups
from probes.statistics.groups import Array
from probes.statistics.maps import MapEvidence

EDGE = 0.25
"""Share of the probes at one end of the penalties above which these may be too narrow."""
RARE = 10
"""Scored rows below which the recall of a class is too rough to interpret."""


def task_caveats(
    scored: ScoredRows, group_name: str, level: float, *, permutations: int = 0
) -> list[str]:
    """About the scored rows: few groups, rare classes, classes that one group holds alone.

    permutations: refits on permuted labels, which the tests then rest on instead of the groups.
    """
    caveats = []
    task, groups = scored.task, len(scored.groups)
    few = few_groups(groups, group_name)
    if few:
        caveats.append(f"{task.feature}: {few}.")
    smallest = 1 / (1 + permutations) if permutations else 0.5**groups
    if smallest > level:
        basis = (
            f"{permutations} permutations"
            if permutations
            else f"{groups} {group_name}s in the reported split"
        )
        caveats.append(
            f"{task.feature}: with {basis} no p-value can be below {smallest:.3g}; at the level of "
            f"{level:g} nothing can be significant."
        )
    if len(np.unique(scored.labels)) < 2:
        without = "".join(f" {metric.label} cannot be measured;" for metric in scored.left_out)
        caveats.append(
            f"{task.feature}: all reported rows are of the class "
            f"{task.classes[scored.labels[0]]}, so a probe that always answers it is right;"
            f"{without} draw other rows with split.source=group."
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
    possible = test.smallest_p is None or test.level is None or test.smallest_p <= test.level
    # Where nothing can be significant, that is said of the rows, and says nothing of the heads.
    if possible and not test.significant_familywise:
        caveats.append(
            f"{name}: no head is significant at the family-wise level of {test.level:g}, "
            + (
                f"though {test.significant_q} of {test.units} are at a false discovery rate of "
                f"{test.level:g}: they carry something as a set, and which of them is not certain."
                if test.significant_q
                else f"nor at a false discovery rate of {test.level:g}: the bright cells of this "
                f"map may be what chance gives among {test.units} heads."
            )
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


def effect_caveats(evidence: MapEvidence, test: MapTestSummary) -> list[str]:
    """About one map of effects: no matched control, nothing significant, hardly any groups."""
    _, site, probe, *measured = evidence.key
    method, metric, effect, positions = measured
    name = f"{evidence.feature} ({Subject(site, method, probe, metric, effect, positions).label})"
    what = unit_of(site)
    caveats = []
    if not test.control_null:
        # The same words for all variants of a method, so that it is said once.
        why = (
            "fewer than half of the reported texts have another training text of the same answer "
            "and alternatives to be matched with"
            if method == "ablation"
            else "the method has no matched control"
        )
        caveats.append(
            f"{evidence.feature} ({METHODS[method].label}): {why}, so effects are tested against 0 "
            "only. With enough texts almost any edit moves the measure a little: look at the size "
            "of an effect before its p-value."
        )
    elif not test.control_familywise and test.significant_familywise:
        caveats.append(
            f"{name}: {test.significant_familywise} of {test.units} {what}s have an effect "
            f"(family-wise {test.level:g}), but none differs from the same edit with another text "
            f"of the same answer: what these {what}s do is not special to the answer."
        )
    if not (test.significant_familywise or test.control_familywise):
        caveats.append(
            f"{name}: no {what} has an effect at the family-wise level of {test.level:g}; the "
            f"strongest colours of this map may be what chance gives among {test.units} {what}s."
        )
    return caveats


def penalty_caveats(
    chosen: Mapping[tuple[str, str, str], Sequence[float]], site: str, l2: Sequence[float] | None
) -> list[str]:
    """About the choice of the penalty: many probes take the smallest or the largest there is.

    chosen: penalties by feature, site and probe: of each head, with folds of each head in each.
    site: that the run is about. l2: the penalties of the grid; None: the default ones and those
    that a probe may go on to.
    """
    grid = sorted({float(value) for value in l2 or (*PENALTIES, *WEAKER, *STRONGER)})
    if len(grid) < 2:
        return []
    caveats = []
    for (feature, on, probe), penalties in chosen.items():
        if on != site or is_comparator(probe):
            continue
        for edge, word, further in ((grid[0], "smallest", grid[0] / 10),
                                    (grid[-1], "largest", grid[-1] * 10)):  # fmt: skip
            share = np.isclose(penalties, edge, rtol=1e-4).mean()
            if share > EDGE and further > 0:
                wider = ",".join(f"{value:g}" for value in sorted([*grid, further]))
                caveats.append(
                    f"{feature} ({probe}): {share:.0%} of the probes chose the {word} penalty that "
                    f"was tried, {edge:g}; their best may be outside (probe.l2=[{wider}])."
                )
    return caveats
