"""Gains over other probes of the same rows: values, pairing, and who is compared with whom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from probes.evaluation import baselines
from probes.evaluation.paired_gains import paired_gains
from probes.evaluation.planted import planted_task
from probes.evaluation.scored_rows import ScoredRows
from probes.statistics.bootstrap import draw_groups
from probes.statistics.maps import MapEvidence
from probes.training.problems import real_problem


@pytest.fixture(scope="module")
def scored() -> ScoredRows:
    task = planted_task(60, 8, level="word", types=100)
    problem = real_problem(task)
    groups = len(np.unique(task.groups[problem.score]))
    draws = draw_groups(groups, 500, seed=1, confidence=0.95)
    return ScoredRows.of(task, [problem], {"majority": baselines.majority(task, problem)}, draws)


def evidence(scored: ScoredRows, site: str, probe: str, shares: np.ndarray) -> MapEvidence:
    """Two layers; ``shares`` (H, G) of each group's rows are right."""
    units = len(shares) // 2
    heads = [(layer, head) for layer in (0, 1) for head in range(units)]
    sizes = scored.groups.sizes
    return MapEvidence(
        feature="f",
        site=site,
        probe=probe,
        units=np.array(heads, dtype=np.int32),
        streams=("encoder",) * len(heads),
        groups=scored.groups.names.astype(np.int64),
        rows=sizes,
        totals=np.rint(shares * sizes).astype(np.int64),
        validation=np.zeros(len(heads)),
    )


def test_values_pairs_and_intervals(scored: ScoredRows) -> None:
    random = np.random.default_rng(0)
    hard = random.uniform(0.2, 0.9, size=(1, len(scored.groups.sizes)))  # of the documents
    own = evidence(scored, "heads", "linear", np.repeat(hard, 6, axis=0))
    fresh = evidence(scored, "heads", "random_init", np.repeat(hard, 6, axis=0) - 0.125)
    layer = evidence(scored, "residual", "linear", np.vstack([hard + 0.0, hard / 2]))
    rows = pd.DataFrame(paired_gains(own, [own, fresh, layer], scored))
    accuracy, of_fresh, of_layer = (m.sums().value() for m in (own, fresh, layer))
    over_random = rows[rows.metric == "gain_random_init"]
    over_layer = rows[rows.metric == "gain_residual"]
    assert len(rows) == 12 and len(over_random) == len(over_layer) == 6
    units = zip(over_layer.layer, over_layer["head"], strict=True)
    assert list(units) == [unit[1:] for unit in own.keys]
    expected = accuracy - of_fresh
    np.testing.assert_allclose(over_random.value, expected)
    expected = accuracy - np.repeat(of_layer, 3)
    np.testing.assert_allclose(over_layer.value, expected, atol=1e-12)
    # Documents differ by tenths, the paired difference by roundings to whole rows only.
    assert (over_random.ci_low <= over_random.value).all()
    assert (over_random.value <= over_random.ci_high).all()
    assert (over_random.ci_high - over_random.ci_low < 0.05).all()
    assert (over_layer[["value", "ci_low", "ci_high"]][:3] == 0).all(axis=None)


def test_heads_without_a_partner_and_strangers_have_no_row(scored: ScoredRows) -> None:
    shares = np.full((4, len(scored.groups.sizes)), 0.5)
    own = evidence(scored, "heads", "linear", shares)
    one_layer = replace(
        evidence(scored, "all_heads", "linear", shares[:2]),
        units=np.array([[1, 0], [7, 0]], dtype=np.int32),
    )
    other_probe = evidence(scored, "all_heads", "mlp", shares[:2])
    rows = paired_gains(own, [one_layer, other_probe], scored)
    assert {(r["metric"], r["layer"], r["head"]) for r in rows} == {
        ("gain_all_heads", 1, 0),
        ("gain_all_heads", 1, 1),
    }
