"""The sentences about two maps' difference, the same wherever it is shown."""

from __future__ import annotations

import numpy as np

from probes.reporting.difference import Difference
from probes.reporting.page.sentences import plural
from probes.results.vocabulary import probe_label
from probes.results.vocabulary.methods import PROBE, has_effects
from probes.results.vocabulary.positions import positions_label
from probes.results.vocabulary.sites import unit_of


def title_of(shown: Difference) -> str:
    """Feature, what is taken from what, and what both share."""
    first, second = shown.names
    model = shown.first.record.model.name
    shared = [model] if model == shown.second.record.model.name else []
    if shown.method != PROBE and shown.first.probe == shown.second.probe:
        shared.insert(0, probe_label(shown.first.probe, shown.method))
    return " · ".join(
        [shown.feature, f"{first} − {second}", *shared, shown.first.record.corpus.name]
    )


def subtitle_of(shown: Difference) -> str:
    """What is measured, on which texts, and how the two are paired."""
    groups = plural(shown.first.record.corpus.group_name)
    unit = shown.unit
    parts = [
        f"{unit.measured} on test, first minus second" + (f", in {unit.name}" * bool(unit.name)),
        *(of_both for of_both in [_of_both(shown), unit.above] if of_both),
        f"paired over {shown.comparison.groups:,} {groups}",
    ]
    if shown.site != "heads":
        parts.insert(0, shown.site.replace("_", " "))
    return " · ".join(parts)


def _of_both(shown: Difference) -> str:
    """Which effects they are, where the method knows several."""
    if shown.subject is None:
        return ""
    parts = [f"{shown.subject.effect} effect"] if has_effects(shown.method) else []
    parts.append(positions_label(shown.subject.positions, shown.method))
    return ", ".join(filter(None, parts))


def count_of(shown: Difference) -> str:
    """How many units differ, in which direction, and how many would by chance."""
    units = len(shown.comparison.units)
    what = f"{unit_of(shown.site)}s"
    first, second = shown.names
    up = int((shown.differing & (shown.comparison.difference > 0)).sum())
    down = int(shown.differing.sum()) - up
    return (
        f"{up + down} of {units} {what} differ ({100 * shown.confidence:g}% interval without 0; by "
        f"chance about {units * (1 - shown.confidence):.2g} would): {up} higher in {first}, {down} "
        f"in {second}."
    )


def order_of(shown: Difference) -> str:
    """Whether both maps put their units in the same order."""
    rank = shown.comparison.rank
    if shown.comparison.sampled:
        return (
            f"{unit_of(shown.site).capitalize()}s of a map were chosen: only those in both maps "
            "are compared, and neither their order nor means by layer."
        )
    if rank is None:
        return "Fewer than three units: no rank correlation."
    if np.isnan(rank.value):
        return "Rank correlation undefined: the units of a map are all alike."
    text = f"Rank correlation {rank.value:.2f} [{rank.low:.2f}, {rank.high:.2f}]"
    if np.isnan(rank.ceiling):
        return f"{text}; noise hides the order of a map, so equal orders could not be seen."
    return f"{text}; with this noise equal orders would reach about {rank.ceiling:.2f}."


def averaged(shown: Difference) -> str:
    """What a profile by depth is of."""
    return "mean of heads" if shown.site == "heads" else shown.site.replace("_", " ")
