"""From what steering changes in every text to the rows of a dose-response curve.

A curve is what one set of heads does when it is pushed by several strengths: the mean change of a
measure, with its interval over groups, against the same heads in other directions and against other
heads, at the same strength and at the same perplexity of neutral text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from probes.evaluation.table_rows import Row
from probes.results.dose_evidence import DoseEvidence
from probes.results.vocabulary.comparators import COMPARATORS
from probes.results.vocabulary.doses import EQUAL_PERPLEXITY, NEUTRAL, PERPLEXITY
from probes.results.vocabulary.methods import TOTAL
from probes.results.vocabulary.sites import HEAD_SETS
from probes.statistics.bootstrap import Draws
from probes.statistics.group_sums import GroupSums, share_sums
from probes.statistics.groups import Array, Codes, Groups


@dataclass(frozen=True)
class Dose:
    """Which heads are pushed, in which way and how far."""

    variant: str
    """As in the column ``probe``: the direction, or the name of a control."""
    heads: int
    strength: float


@dataclass(frozen=True)
class Changed:
    """What doses change in rows: texts that are scored, or rows of a feature."""

    metric: str
    values: Mapping[Dose, Array]
    """(N,) with the push minus without."""
    groups: Codes
    """(N,) group of each row."""
    draws: Draws | None
    """Of the bootstrap over these groups."""


@dataclass(frozen=True)
class Perplexities:
    """How well neutral texts are predicted."""

    losses: Mapping[Dose, Array]
    """(M,) minus the log-probability of each text."""
    tokens: Codes
    """(M,)"""
    draws: Draws | None
    """Of the bootstrap over texts."""

    def mean(self, dose: Dose) -> float:
        """The loss of a token on average, in nats: the logarithm of the perplexity."""
        return float(self.losses[dose].sum() / self.tokens.sum())

    def sums(self, dose: Dose) -> GroupSums:
        """As sums over texts."""
        return share_sums(PERPLEXITY, self.losses[dose][None], self.tokens)


def dose_rows(
    feature: str,
    direction: str,
    positions: str,
    changed: Sequence[Changed],
    perplexities: Perplexities | None,
) -> list[Row]:
    """Rows of all curves of a feature; those beyond a control are of the first that is changed."""
    rows: list[Row] = []
    for one in changed:
        for dose in one.values:
            sums = _sums(one, one.values[dose])
            rows.append(_row(feature, dose, positions, one.metric, sums, one.draws))
    if perplexities is not None:
        for dose in perplexities.losses:
            rows.append(_perplexity_row(feature, dose, positions, perplexities))
    if changed:
        rows += _beyond(feature, direction, positions, changed[0], perplexities)
    return rows


def dose_evidence(
    feature: str,
    positions: str,
    changed: Sequence[Changed],
    perplexities: Perplexities | None,
) -> list[DoseEvidence]:
    """What is kept of all curves of a feature: the sums that rows and intervals are made of."""
    kept = [
        _evidence(feature, one.metric, positions, one.values, Groups.of(one.groups))
        for one in changed
    ]
    if perplexities is not None:
        texts = Groups.of(np.arange(len(perplexities.tokens)))
        of = _evidence(feature, PERPLEXITY, "all", perplexities.losses, texts)
        kept.append(replace(of, rows=np.asarray(perplexities.tokens, dtype=np.int64)))
    return kept


def _evidence(
    feature: str, metric: str, positions: str, values: Mapping[Dose, Array], groups: Groups
) -> DoseEvidence:
    doses = list(values)
    return DoseEvidence(
        feature,
        metric,
        positions,
        variants=tuple(dose.variant for dose in doses),
        heads=np.array([dose.heads for dose in doses], dtype=np.int64),
        strengths=np.array([dose.strength for dose in doses], dtype=np.float64),
        groups=groups.names.astype(np.int64),
        rows=groups.sizes.astype(np.int64),
        sums=groups.sum(np.stack([values[dose] for dose in doses])),
    )


def _beyond(
    feature: str,
    direction: str,
    positions: str,
    changed: Changed,
    perplexities: Perplexities | None,
) -> list[Row]:
    """Paired differences of the direction to each control."""
    rows = []
    controls = {dose.variant for dose in changed.values} - {direction}
    for dose in (dose for dose in changed.values if dose.variant == direction and dose.strength):
        own = _sums(changed, changed.values[dose])
        for control in (name for name in COMPARATORS if name in controls):
            same = _sums(changed, changed.values[Dose(control, dose.heads, dose.strength)])
            gain = COMPARATORS[control].gain
            rows.append(_row(feature, dose, positions, gain, own, changed.draws, minus=same))
            if perplexities is None:
                continue
            mixed = _sums(changed, _at_equal_perplexity(changed, perplexities, dose, control))
            name = gain + EQUAL_PERPLEXITY
            rows.append(_row(feature, dose, positions, name, own, changed.draws, minus=mixed))
    return rows


def _at_equal_perplexity(
    changed: Changed, perplexities: Perplexities, dose: Dose, control: str
) -> Array:
    """(N,) what the control changes where it costs as much perplexity as the direction does.

    Between the two neighbouring strengths of the same sign it is interpolated, in the logarithm of
    the perplexity. A control that never costs as much has its value at the strength that costs
    most; one that always costs more has that share of its smallest strength. Where the direction
    costs nothing, the control is pushed as far as it is.
    """
    doses = [
        other
        for other in changed.values
        if (other.variant, other.heads) == (control, dose.heads)
        and (other.strength == 0 or other.strength * dose.strength > 0)
    ]
    doses.sort(key=lambda other: abs(other.strength))
    start = Dose(control, dose.heads, 0.0)
    clean = perplexities.mean(Dose(dose.variant, dose.heads, 0.0))
    steps = [(clean, np.zeros(len(changed.groups)))] + [
        (perplexities.mean(other), changed.values[other]) for other in doses if other != start
    ]
    wanted = perplexities.mean(dose)
    if wanted <= clean:
        return changed.values[Dose(control, dose.heads, dose.strength)]
    for (low, before), (high, after) in pairwise(steps):
        if high >= wanted:
            share = (wanted - low) / (high - low)  # low < wanted: no step before reached it
            return (1 - share) * before + share * after
    costs = [cost for cost, _ in steps]
    return steps[int(np.argmax(costs))][1]


def _sums(changed: Changed, values: Array) -> GroupSums:
    groups = Groups.of(changed.groups)
    return share_sums(changed.metric, groups.sum(values[None]), groups.sizes)


def _row(
    feature: str,
    dose: Dose,
    positions: str,
    metric: str,
    sums: GroupSums,
    draws: Draws | None,
    *,
    minus: GroupSums | None = None,
) -> Row:
    value = float(sums.value()[0]) - (0.0 if minus is None else float(minus.value()[0]))
    row = _names(feature, dose, positions, metric, "test", value, int(sums.shared.sum()))
    if draws is not None:
        interval = draws.interval(sums, minus)
        row |= {"ci_low": float(interval.low[0]), "ci_high": float(interval.high[0])}
    return row


def _perplexity_row(feature: str, dose: Dose, positions: str, of: Perplexities) -> Row:
    """The perplexity itself; its interval is that of the mean loss."""
    value = float(np.exp(of.mean(dose)))
    row = _names(feature, dose, positions, PERPLEXITY, NEUTRAL, value, len(of.tokens))
    if of.draws is not None:
        interval = of.draws.interval(of.sums(dose))
        ends = (float(np.exp(interval.low[0])), float(np.exp(interval.high[0])))
        row |= {"ci_low": ends[0], "ci_high": ends[1]}
    return row


def _names(
    feature: str, dose: Dose, positions: str, metric: str, split: str, value: float, n: int
) -> Row:
    return {
        "feature": feature,
        "site": HEAD_SETS,
        "probe": dose.variant,
        "split": split,
        "metric": metric,
        "value": value,
        "n": n,
        "method": "steering",
        "effect": TOTAL,
        "positions": "all" if metric == PERPLEXITY else positions,
        "strength": dose.strength,
        "heads_steered": dose.heads,
    }
