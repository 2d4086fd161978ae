"""What a search maximises: validation, never test."""

from __future__ import annotations

import pytest

from probes.core.errors import UserError
from probes.results.objective import check_objective, objective_of
from probes.results.table import pick
from tests.reporting.synthetic import heads_of, make_results

TABLE = make_results({"encoder": heads_of(3, 4)}, features=("upos", "tense"))


def best(feature: str, metric: str = "accuracy", split: str = "validation") -> float:
    rows = pick(TABLE, feature=feature, site="heads", probe="linear", metric=metric, split=split)
    return float(rows["value"].max())


def test_the_mean_over_features_of_the_best_heads_on_validation() -> None:
    assert objective_of(TABLE) == pytest.approx((best("upos") + best("tense")) / 2)
    assert objective_of(TABLE, "tense.accuracy") == pytest.approx(best("tense"))


def test_numbers_of_the_test_rows_do_not_move_it() -> None:
    changed = TABLE.copy()
    changed.loc[changed["split"] == "test", "value"] = 0.99
    assert objective_of(changed) == objective_of(TABLE)


@pytest.mark.parametrize(
    ("asked", "fix"),
    [("test", "accuracy"), ("test.accuracy", "accuracy"), ("upos.accuracy.test", "upos.accuracy")],
)
def test_a_number_of_the_test_rows_is_refused(asked: str, fix: str) -> None:
    with pytest.raises(UserError, match=rf"Try objective={fix}$"):
        check_objective(asked)


@pytest.mark.parametrize("asked", ["upso.accuracy", "upos.none", "none"])
def test_what_was_not_measured_is_refused(asked: str) -> None:
    with pytest.raises(UserError, match=r"upos|accuracy"):
        objective_of(TABLE, asked)
