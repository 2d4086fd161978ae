"""From the effects of an edit to result rows, tests, the best head and caveats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from probes.core.errors import UserError
from probes.evaluation.caveats import effect_caveats
from probes.evaluation.judge import EFFECT_NULLS, judge_map
from probes.evaluation.table_rows import Place, Row, places_of, value_rows
from probes.results.findings import BestUnit, MapTestSummary
from probes.results.vocabulary.comparators import COMPARATORS, MATCHED
from probes.statistics.bootstrap import Draws
from probes.statistics.group_sums import GroupSums
from probes.statistics.groups import Array
from probes.statistics.maps import MapEvidence


@dataclass(frozen=True)
class EffectMap:
    """What is concluded about one map of effects."""

    rows: list[Row]
    """Of ``results.csv``: validation, test with tests, the control, and what is beyond it."""
    maps: list[MapEvidence]
    """The map, and its control where there is one, for ``evidence.safetensors``."""
    best: BestUnit
    test: MapTestSummary
    caveats: list[str]

    @property
    def of(self) -> MapEvidence:
        """The map itself."""
        return self.maps[0]

    @property
    def p_familywise(self) -> Array:
        """(H,) of the test against 0, over all units of the map."""
        return np.array([row["p_familywise"] for row in self.rows if "p_familywise" in row])


def judge_effects(
    effects: MapEvidence,
    *,
    control: MapEvidence | None = None,
    draws: Draws | None,
    choose_on_validation: bool = True,
    level: float,
    seed: int,
) -> EffectMap:
    """Both tests of effects, two-sided: against 0, and against the matched control.

    effects: oriented so that above 0 the head helps.
    control: the same edit with the head's output on another training text of the same answer; its
        ``probe`` is ``matched``. Without, only the test against 0 is made, and a caveat says so.
    draws: of the bootstrap over the groups of the map; ``None``: no intervals.
    choose_on_validation: as in ``judge_map``.
    level: at which units are called significant.

    Raises:
        UserError: the control has other units or rows than the effects.
    """
    if control is not None:
        _require_pair(effects, control)
    findings = judge_map(
        effects,
        baseline=np.zeros(len(effects.groups)),
        control=None if control is None else control.totals.astype(np.float64),
        draws=draws,
        choose_on_validation=choose_on_validation,
        nulls=EFFECT_NULLS,
        two_sided=True,
        level=level,
        seed=seed,
    )
    rows = _map_rows(effects, draws)
    n = len(effects.units)
    for row, columns in zip(rows[-n:], findings.columns(), strict=True):
        row.update(columns)
    if control is not None:
        rows += _map_rows(control, draws)
        gain = COMPARATORS[MATCHED].gain
        rows += _test_rows(effects, gain, draws, minus=control.sums())
    caveats = effect_caveats(effects, findings.summary)
    maps = [effects] if control is None else [effects, control]
    return EffectMap(rows, maps, findings.best, findings.summary, caveats)


def _map_rows(evidence: MapEvidence, draws: Draws | None) -> list[Row]:
    """Validation rows, where there are any, then test rows."""
    rows: list[Row] = []
    if evidence.validation_rows:
        rows += value_rows(
            places_of(evidence),
            "validation",
            evidence.metric,
            evidence.validation,
            n=evidence.validation_rows,
        )
    return rows + _test_rows(evidence, evidence.metric, draws)


def _test_rows(
    evidence: MapEvidence, metric: str, draws: Draws | None, *, minus: GroupSums | None = None
) -> list[Row]:
    """One row a unit, with the interval of the value or of the paired difference."""
    places: list[Place] = places_of(evidence)
    sums, n = evidence.sums(), int(evidence.rows.sum())
    values = sums.value() - (0.0 if minus is None else minus.value())
    if draws is None:
        return value_rows(places, "test", metric, values, n=n)
    interval = draws.interval(sums, minus)
    return [
        place.row("test", metric, value, n=n, ci_low=float(low), ci_high=float(high))
        for place, value, low, high in zip(places, values, interval.low, interval.high, strict=True)
    ]


def _require_pair(effects: MapEvidence, control: MapEvidence) -> None:
    same_rows = np.array_equal(effects.groups, control.groups) and np.array_equal(
        effects.rows, control.rows
    )
    if effects.keys != control.keys or not same_rows:
        raise UserError(
            f"the matched control of '{effects.feature}' ({effects.method}) was measured on other "
            "heads or rows than the effects",
            allowed="a control of the same heads and rows",
        )
