"""Rows of dose-response curves, against means and interpolation by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from probes.evaluation.dose_response import Changed, Dose, Perplexities, dose_rows
from probes.reporting.page.steering import finding
from probes.results.dose_curves import DoseCurves
from probes.results.steered import SteeringRecord
from probes.results.table import pick, results_table
from probes.statistics.bootstrap import draw_groups

CONTROLS = ("random_direction", "random_covariance", "random_heads")
GROUPS = np.repeat(np.arange(30), 2)
STRENGTHS = (-4.0, 0.0, 2.0, 4.0)


def curves(slopes: dict[str, float], costs: dict[str, float]) -> pd.DataFrame:
    """Changes in proportion to the strength, log perplexities to its square."""
    noise = np.random.default_rng(0).normal(size=len(GROUPS)) * 0.1
    values, losses = {}, {}
    tokens = np.array([10, 30])
    for variant in ("mean_difference", *CONTROLS):
        for strength in STRENGTHS:
            dose = Dose(variant, 8, strength)
            values[dose] = strength * (slopes[variant] + noise)
            losses[dose] = tokens * (3.0 + costs[variant] * strength**2)
    changed = Changed("logit_difference", values, GROUPS, draw_groups(30, 300, seed=0))
    perplexities = Perplexities(losses, tokens, draw_groups(2, 300, seed=0))
    return results_table(dose_rows("truth", "mean_difference", "last", [changed], perplexities))


def table(slope: float = 1.0, cost: float = 0.01) -> pd.DataFrame:
    slopes = dict.fromkeys(CONTROLS, 0.2) | {"mean_difference": slope}
    costs = dict.fromkeys(CONTROLS, 0.02) | {"mean_difference": cost}
    return curves(slopes, costs)


def value(rows: pd.DataFrame, metric: str, strength: float, **names: str) -> float:
    (row,) = pick(rows, metric=metric, **names)[lambda t: t["strength"] == strength]["value"]
    return float(row)


def test_a_change_is_a_mean_and_a_difference_is_paired() -> None:
    rows = table()
    noise = np.random.default_rng(0).normal(size=len(GROUPS)) * 0.1
    own = value(rows, "logit_difference", 4, probe="mean_difference")
    assert own == pytest.approx(4 * (1 + noise.mean()))
    assert value(rows, "gain_random_heads", 4) == pytest.approx(4 * 0.8)  # the noise is shared
    beyond = pick(rows, metric="gain_random_heads")
    np.testing.assert_allclose(beyond["ci_high"] - beyond["ci_low"], 0, atol=1e-9)
    plain = pick(rows, metric="logit_difference", probe="mean_difference", strength=4.0)
    assert plain["ci_low"].item() < 4 < plain["ci_high"].item()
    assert set(pick(rows, metric="logit_difference", strength=0.0)["value"]) == {0.0}
    assert set(rows["heads_steered"]) == {8} and rows["layer"].isna().all()


def test_perplexity_is_of_tokens_not_of_texts() -> None:
    rows = table()
    found = value(rows, "perplexity", 4, probe="mean_difference")
    assert found == pytest.approx(np.exp(3 + 0.01 * 16))
    assert set(pick(rows, metric="perplexity")["positions"]) == {"all"}
    assert set(pick(rows, metric="perplexity")["split"]) == {"neutral"}


def test_at_equal_perplexity_the_control_is_interpolated() -> None:
    rows = table()
    # The direction costs .16 at 4; controls .08 at 2 and .32 at 4: a third of the way, at 2.67.
    wanted = 4 * 1.0 - (2 + 2 / 3) * 0.2
    noise = np.random.default_rng(0).normal(size=len(GROUPS)).mean() * 0.1
    found = value(rows, "gain_random_heads_equal_perplexity", 4)
    assert found == pytest.approx(wanted + noise * (4 - 2 - 2 / 3))
    # At -4 there is no weaker push of that sign: half of the control's own, from 0.
    found = value(rows, "gain_random_heads_equal_perplexity", -4)
    assert found == pytest.approx(-4 * (1 + noise) + 2 * (0.2 + noise))


@pytest.mark.parametrize(("cost", "share"), [(0.0, 4.0), (-0.01, 4.0), (5.0, 4.0)])
def test_a_control_that_cannot_cost_as_much_is_pushed_as_far_as_it_was(
    cost: float, share: float
) -> None:
    """Where the direction costs nothing, and where no strength of the control costs as much."""
    found = value(table(cost=cost), "gain_random_heads_equal_perplexity", 4)
    assert found == pytest.approx(4 * 1.0 - share * 0.2)


RECORD = SteeringRecord("truth", "true", "mean_difference", "last", "accuracy", [], [8],
                        "logit_difference", "neutral")  # fmt: skip


def test_the_sentence_is_about_the_largest_push_that_leaves_the_model_speaking() -> None:
    cheap = DoseCurves.of(table(cost=0.001), "truth")
    assert cheap.affordable_strength(8) == 4
    assert DoseCurves.of(table(cost=0.02), "truth").affordable_strength(8) == 2
    assert "by 4 standard deviations towards 'true'" in finding(cheap, RECORD, 8)
    assert "more than every control" in finding(cheap, RECORD, 8)
    dear = finding(DoseCurves.of(table(cost=0.5), "truth"), RECORD, 8)
    assert "even at this smallest strength" in dear
    assert "beyond random heads (which cost at most" in dear
    assert "which cost at most" not in finding(cheap, RECORD, 8)


def test_a_direction_that_does_as_the_controls_do_is_called_so() -> None:
    lame = DoseCurves.of(table(slope=0.2, cost=0.02), "truth")
    assert "no more than the controls give" in finding(lame, RECORD, 8)
