"""What is concluded about a whole map: its tests and its best unit.

Nothing here knows how the map was made. Rows right of a probe and effects of an edit are judged
alike: a total for each unit and group, compared with a baseline and, where there is one, with a
control of the same units.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from probes.results.findings import BestUnit, MapTestSummary, Measured
from probes.results.vocabulary.methods import is_signed
from probes.statistics.bootstrap import Draws
from probes.statistics.groups import Array
from probes.statistics.maps import MapEvidence
from probes.statistics.selection import BestHead, best_on_validation, best_out_of_bag
from probes.statistics.significance import MapTest, permutation_test, sign_flip_test


@dataclass(frozen=True)
class Nulls:
    """What the p-values of a map refute, in words."""

    baseline: str
    """Of the test against the baseline by sign flips."""
    control: str
    """Of the test against the control."""
    permutation: str = "activations and labels are independent"
    """Of the test by refits on permuted labels."""


PROBE_NULLS = Nulls(
    baseline="the trained probe gets no more rows right than the majority class, on average over "
    "groups",
    control="the probe is no more accurate on the task than on its control",
)
EFFECT_NULLS = Nulls(
    baseline="the mean effect over groups is 0",
    control="the mean effect over groups is that of the matched control",
)


@dataclass(frozen=True)
class MapFindings:
    """What is concluded about one map."""

    evidence: MapEvidence
    best: BestUnit
    summary: MapTestSummary
    """Of the test against the baseline."""
    against_baseline: MapTest
    against_control: MapTest | None

    def columns(self) -> list[dict[str, float]]:
        """(H,) columns of the results table for the main row of each unit."""
        tests = {"p_value": self.against_baseline.p}
        tests["p_familywise"] = self.against_baseline.p_familywise
        tests["q_value"] = self.against_baseline.q
        if self.against_control is not None:
            tests["p_control"] = self.against_control.p
            tests["q_control"] = self.against_control.q
            if is_signed(self.evidence.method):
                tests["p_control_familywise"] = self.against_control.p_familywise
        return [
            {name: float(values[unit]) for name, values in tests.items()}
            for unit in range(len(self.evidence.units))
        ]


def judge_map(
    evidence: MapEvidence,
    *,
    baseline: Array,
    control: Array | None = None,
    permuted: Array | None = None,
    draws: Draws | None,
    choose_on_validation: bool = True,
    nulls: Nulls = PROBE_NULLS,
    two_sided: bool = False,
    level: float,
    seed: int,
) -> MapFindings:
    """Test every unit of a map against a baseline and a control, and find the best one.

    The best unit of a signed map (effects) is that of the largest value, whatever its sign. The
    tests flip the signs of whole groups, or compare with refits on permuted labels where there
    are any; the family-wise p-values hold for the map as a whole (``significance.py``). The best
    unit is freed from the selection (``selection.py``).

    baseline: (G,) totals of what all units are compared with: rows that the majority class gets
        right, or zeros for effects.
    control: (H, G) totals of each unit's own control: the control task, or the edit with a matched
        other prompt; ``None`` without one.
    permuted: (H, P) gains over the majority of probes refitted on permuted labels; ``None``
        without refits. Only for maps of counts.
    draws: of the bootstrap, over the groups of the map; without, intervals are missing and there is
        no best unit of rows that were all used to choose it.
    choose_on_validation: whether the validation values come from other rows than the totals. If
        not (cross-validation), units are chosen on drawn groups and measured on the others.
    two_sided: whether units far below the baseline count as much as those above.
    level: at which units are called significant.
    """
    totals = evidence.totals.astype(np.float64)
    if permuted is not None:
        gains = (totals.sum(axis=1) - baseline.sum()) / evidence.rows.sum()
        against_baseline = permutation_test(gains, permuted.T, null=nulls.permutation)
    else:
        against_baseline = sign_flip_test(
            totals - baseline, seed=seed, null=nulls.baseline, two_sided=two_sided
        )
    signed = is_signed(evidence.method)
    against_control = None
    if control is not None:
        against_control = sign_flip_test(
            totals - control, seed=seed, null=nulls.control, two_sided=two_sided
        )
    summary = MapTestSummary(
        evidence.feature,
        evidence.site,
        evidence.probe,
        null=against_baseline.null,
        smallest_p=against_baseline.smallest,
        units=len(evidence.units),
        groups=len(evidence.groups),
        level=level,
        significant_familywise=int((against_baseline.p_familywise <= level).sum()),
        significant_q=int((against_baseline.q <= level).sum()),
        measured=_measured(evidence),
    )
    if signed and against_control is not None:
        summary = replace(
            summary,
            control_null=against_control.null,
            control_familywise=int((against_control.p_familywise <= level).sum()),
            control_q=int((against_control.q <= level).sum()),
        )
    best = _best_unit(evidence, _best(evidence, draws, choose_on_validation))
    return MapFindings(evidence, best, summary, against_baseline, against_control)


def _best(
    evidence: MapEvidence, draws: Draws | None, choose_on_validation: bool
) -> BestHead | None:
    by_size = is_signed(evidence.method)
    if choose_on_validation and not np.isnan(evidence.validation).all():
        return best_on_validation(evidence.sums(), draws, evidence.validation, by_size=by_size)
    # Without draws nothing frees a value from the selection, so none is given.
    return best_out_of_bag(evidence.sums(), draws, by_size=by_size) if draws else None


def _measured(evidence: MapEvidence) -> Measured:
    return Measured(evidence.method, evidence.metric, evidence.effect, evidence.positions)


def _best_unit(evidence: MapEvidence, best: BestHead | None) -> BestUnit:
    names = (evidence.feature, evidence.site, evidence.probe)
    if best is None:
        return BestUnit(*names, measured=_measured(evidence))
    stream, layer, head = evidence.keys[best.head]
    _, naive_layer, naive_head = evidence.keys[best.naive_head]
    return BestUnit(
        *names,
        stream=stream,
        layer=layer,
        head=head,
        value=best.value,
        ci_low=None if np.isnan(best.low) else best.low,
        ci_high=None if np.isnan(best.high) else best.high,
        naive=best.naive,
        naive_layer=naive_layer,
        naive_head=naive_head,
        method=best.method,
        measured=_measured(evidence),
    )
