"""What a search maximises: a number of the best heads on validation, never on test."""

from __future__ import annotations

import pandas as pd

from probes.core.errors import UserError
from probes.results.feature_table import FeatureTable
from probes.results.summary import METRIC
from probes.results.table import features

VALIDATION = "validation"


def check_objective(asked: str) -> None:
    """Refuse an objective that is measured on test.

    Raises:
        UserError: with the same quantity on validation.
    """
    words = asked.split(".")
    if "test" in words:
        kept = ".".join(word for word in words if word != "test")
        raise UserError(
            f"objective={asked}: what is chosen on test can no longer be reported on it",
            allowed="METRIC, FEATURE.METRIC; both are taken on validation",
            fix=f"objective={kept or METRIC}",
        )


def objective_of(table: pd.DataFrame, asked: str = METRIC) -> float:
    """The validation value of the head that is best on validation; the mean over features.

    table: of a finished run. asked: a metric, or ``FEATURE.METRIC`` for one feature alone.

    Raises:
        UserError: the run has no such feature, or no validation values of the metric.

    >>> from probes.results.table import results_table
    >>> heads = {"feature": "upos", "site": "heads", "probe": "linear", "stream": "encoder"}
    >>> rows = [
    ...     {**heads, "layer": 0, "head": head, "split": split, "metric": "accuracy",
    ...      "value": value}
    ...     for head, values in enumerate(((0.6, 0.9), (0.7, 0.5)))
    ...     for split, value in zip(("validation", "test"), values)
    ... ]
    >>> objective_of(results_table(rows)), objective_of(results_table(rows), "upos.accuracy")
    (0.7, 0.7)
    """
    check_objective(asked)
    feature, _, metric = asked.rpartition(".")
    names = [feature] if feature else features(table)
    values = []
    for name in names:
        own = FeatureTable.of(table, name)
        measured = own.values(metric, split=VALIDATION)["value"].dropna()
        if measured.empty:
            raise UserError(
                f"objective={asked}: '{name}' has no '{metric}' on validation",
                allowed=", ".join(_measured(own)),
                fix=f"objective={METRIC}",
            )
        values.append(float(measured.max()))
    return sum(values) / len(values)


def _measured(own: FeatureTable) -> list[str]:
    rows = own.own
    return list(dict.fromkeys(map(str, rows.loc[rows["split"] == VALIDATION, "metric"])))
