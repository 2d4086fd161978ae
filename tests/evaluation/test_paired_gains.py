"""Gains over other probes of the same rows: values, pairing, and who is compared with whom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
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


def test_values_pairs_and_intervals(scored):
    random = np.random.default_rng(0)
    hard = random.uniform(0.2, 0.9, size=(1, len(scored.groups.sizes)))  # of the documents
    own = evidence(scored, "heads", "linear", np.repeat(hard, 6, axis=0))
    fresh = evidence(scored, "heads", "random_init", np.repeat(hard, 6, axis=0) - 0.125)
    layer = evidence(scored, "residual", "linear", np.vstack([hard + 0.0, hard / 2]))
    rows = paired_gains(own, [own, fresh, layer], scored)
    total = scored.groups.sizes.sum()

    def accuracy(one: MapEvidence) -> np.ndarray:
        return one.totals.sum(1) / total

    of = {
        name: [r for r in rows if r["metric"] == name]
        for name in ("gain_random_init", "gain_residual")
    }
    assert len(rows) == 12 and all(len(some) == 6 for some in of.values())
    assert [(r["layer"], r["head"]) for r in of["gain_residual"]] == [k[1:] for k in own.keys]
    over_random = accuracy(own) - accuracy(fresh)
    np.testing.assert_allclose([r["value"] for r in of["gain_random_init"]], over_random)
    over_layer = accuracy(own) - np.repeat(accuracy(layer), 3)
    np.testing.assert_allclose([r["value"] for r in of["gain_residual"]], over_layer, atol=1e-12)
    # Documents differ by tenths, the paired difference by roundings to whole rows only.
    for row in of["gain_random_init"]:
        assert row["ci_low"] <= row["value"] <= row["ci_high"]
        assert row["ci_high"] - row["ci_low"] < 0.05
    for row in of["gain_residual"][:3]:
        assert row["value"] == row["ci_low"] == row["ci_high"] == 0


def test_heads_without_a_partner_and_strangers_have_no_row(scored):
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
