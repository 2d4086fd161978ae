"""Each feature of an atlas in one line: how many heads carry it, and the best of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from probes.atlas.execute import Outcome
from probes.atlas.names import feature_label
from probes.catalogue import Entry
from probes.results.findings import BestUnit
from probes.results.summary import Estimate, optional


@dataclass(frozen=True)
class FeatureLine:
    """One feature of one corpus."""

    job: str
    corpus: str
    feature: str
    label: str
    """Feature and corpus: the same feature may be read on several."""
    entries: tuple[Entry, ...]
    classes: int
    majority: float
    words: float | None
    """Accuracy of the words alone; None where it was not measured."""
    best: Estimate
    """The best head, corrected for its being the best of many."""
    where: str
    """Layer and head of the best head, in words."""
    residual: Estimate
    """The residual stream after its best layer, corrected likewise."""
    tested: int
    """Heads."""
    significant: int
    """Heads that carry the feature."""

    @property
    def stages(self) -> list[str]:
        """Those it belongs to, in the order of its entries."""
        return list(dict.fromkeys(entry.stage for entry in self.entries))

    @property
    def by_words(self) -> bool:
        """Whether the words alone are as accurate as the best head."""
        return (
            self.words is not None and self.best.value is not None and self.words >= self.best.value
        )


def feature_lines(table: pd.DataFrame, outcomes: Sequence[Outcome]) -> list[FeatureLine]:
    """A line for every feature that was probed, in the order of the jobs."""
    lines = []
    for outcome in outcomes:
        if outcome.run is None:
            continue
        for feature in outcome.job.features:
            rows = table[(table["job"] == outcome.job.name) & (table["feature"] == feature)]
            if rows.empty:
                continue
            best = _chosen(outcome.run.record.best, feature, "heads")
            first = rows.iloc[0]
            lines.append(
                FeatureLine(
                    job=outcome.job.name,
                    corpus=str(first["corpus"]),
                    feature=feature,
                    label=feature_label(feature, first["corpus"]),
                    entries=tuple(outcome.job.entries_of(feature)),
                    classes=int(first["classes"]),
                    majority=float(first["majority"]),
                    words=optional(first["words"]),
                    best=_estimate(best),
                    where=_where(best, rows["stream"].nunique() > 1),
                    residual=_estimate(_chosen(outcome.run.record.best, feature, "residual")),
                    tested=len(rows),
                    significant=int(rows["significant"].sum()),
                )
            )
    return lines


def _chosen(best: Sequence[BestUnit], feature: str, site: str) -> BestUnit | None:
    units = (unit for unit in best if (unit.feature, unit.site) == (feature, site))
    return next((unit for unit in units if unit.probe != "random_init"), None)


def _estimate(best: BestUnit | None) -> Estimate:
    return Estimate(None) if best is None else Estimate(best.value, best.ci_low, best.ci_high)


def _where(best: BestUnit | None, several: bool) -> str:
    if best is None or best.head is None:
        return "–"
    place = f"layer {best.layer}, head {best.head}"
    return f"{best.stream}, {place}" if several else place
