"""Which maps of two runs are compared, and why some are not."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, Unpack

import pandas as pd

from probes.core.errors import UserError, closest
from probes.results.feature_table import FeatureTable
from probes.results.method_maps import of_method
from probes.results.record import RunRecord
from probes.results.subject import Asked, Subject
from probes.results.table import distinct, features, pick
from probes.results.vocabulary.methods import METHODS, PROBE


class FinishedRun(Protocol):
    """What is looked at of a run."""

    @property
    def directory(self) -> Path:
        """Where it is."""
        ...

    @property
    def record(self) -> RunRecord:
        """What was run."""
        ...

    @property
    def results(self) -> pd.DataFrame:
        """Its tidy table."""
        ...


SAME = {"metric": "measure", "effect": "effect", "positions": "positions"}
"""What effects must have in common, as fields of a ``Subject``, and as it is called."""


def compared_tables(
    first: FinishedRun,
    second: FinishedRun,
    feature: str | None,
    *,
    other_probe: str | None = None,
    **asked: Unpack[Asked],
) -> tuple[FeatureTable, FeatureTable]:
    """The maps of a feature whose difference is asked for, the only one in common if it is None.

    Raises:
        UserError: different corpora or splits, no such map, or effects that have not the same
            measure, kind and positions.
    """
    if first.record.corpus.fingerprint != second.record.corpus.fingerprint:
        raise UserError(
            f"{first.directory} and {second.directory} were made on different texts, labels or "
            "splits, so their rows cannot be paired",
            allowed="runs with equal corpus.* and split.*",
        )
    require_method(first, second, asked.get("method"))
    method = Subject.of(first.results, **asked).method
    feature = feature or _only(common_features(first, second, method))
    mine = of_method(first.results, feature, **asked)
    theirs: Asked = {**asked, "site": mine.site, "method": mine.method}
    if other_probe:
        theirs["probe"] = other_probe
    other = of_method(second.results, feature, **theirs)
    if mine.method != PROBE and len(mine.own) and len(other.own):
        _require_same(first, mine, second, other)
    return mine, other


def common_features(first: FinishedRun, second: FinishedRun, method: str = PROBE) -> list[str]:
    """The features that both runs have numbers of by a method, in the order of the first."""
    mine, theirs = (features(pick(run.results, method=method)) for run in (first, second))
    return [name for name in mine if name in theirs]


def _only(names: list[str]) -> str:
    if len(names) != 1:
        raise UserError(
            f"the runs have {len(names)} features in common",
            allowed=", ".join(names),
            fix=f"compare(other, {names[0]!r})" if names else "",
        )
    return names[0]


def require_method(first: FinishedRun, second: FinishedRun, method: str | None) -> None:
    """Raise ``UserError`` where a run lacks a method: the one asked for, else that of the first."""
    method = method or Subject.of(first.results).method
    for run in (first, second):
        known = distinct(run.results, "method")
        if method not in known:
            raise UserError(
                f"{run.directory} has no effects by method '{method}'",
                allowed=", ".join(known),
                fix=f"methods=[{method}]"
                if method in METHODS
                else closest(method, known, "--method {}"),
            )


def _require_same(
    first: FinishedRun, mine: FeatureTable, second: FinishedRun, theirs: FeatureTable
) -> None:
    """Effects are subtracted only where they are changes of the same thing."""
    ours, others = mine.subject, theirs.subject
    for field, name in SAME.items():
        a, b = getattr(ours, field), getattr(others, field)
        if a != b:
            raise UserError(
                f"{first.directory} has {ours.label} of {name} '{a}', {second.directory} of "
                f"{name} '{b}': their difference has no meaning",
                allowed="two runs with the same method, measure, effect and positions",
                fix=_override(field, ours.method, a),
            )


def _override(field: str, method: str, value: str) -> str:
    """What makes a run of effects as the other's."""
    if field == "metric":
        return f"measure={value}"
    return f"{method}.positions={value}" if field == "positions" else f"effect={value!r}"


def require_all_layers(first: FinishedRun, second: FinishedRun) -> None:
    """Raise ``UserError`` for maps without common heads that lack layers: those are compared by
    relative depth."""
    layers = [run.record.config.get("layers") for run in (first, second)]
    if any(layers):
        probed = " against ".join(f"layers={one or 'null'}" for one in layers)
        raise UserError(
            f"the runs probed different layers ({probed}), so the relative depth of a "
            "layer is unknown",
            fix="runs of the same layers, or of all (layers=null)",
        )
