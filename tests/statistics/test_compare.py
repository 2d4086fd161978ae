"""Two maps: paired differences, the order of heads, and models of different depth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from probes.core.errors import UserError
from probes.statistics.compare import RankCorrelation, compare_maps
from probes.statistics.maps import MapEvidence

GROUPS, ROWS = 60, 10


def evidence(
    truth: npt.NDArray[np.float64],
    *,
    seed: int = 0,
    layers: int = 4,
    hard: npt.NDArray[np.float64] | None = None,
    name: str = "linear",
) -> MapEvidence:
    """A map of heads with these true accuracies (H,) on groups of shared difficulty."""
    random = np.random.default_rng(seed)
    H = len(truth)
    hard = np.zeros(GROUPS) if hard is None else hard
    rate = np.clip(np.asarray(truth)[:, None] + hard, 0, 1)
    return MapEvidence(
        feature="upos",
        site="heads",
        probe=name,
        units=np.array([divmod(h, H // layers) for h in range(H)], dtype=np.int32),
        streams=("encoder",) * H,
        groups=np.arange(100, 100 + GROUPS),
        rows=np.full(GROUPS, ROWS),
        totals=random.binomial(ROWS, rate),
        validation=np.asarray(truth, dtype=float),
    )


def ranks_of(first: MapEvidence, second: MapEvidence, draws: int = 1000) -> RankCorrelation:
    rank = compare_maps(first, second, draws=draws).rank
    assert rank is not None
    return rank


def test_differences_are_those_of_the_accuracies() -> None:
    a, b = evidence(np.full(8, 0.7), seed=0), evidence(np.full(8, 0.6), seed=1, name="mlp")
    found = compare_maps(a, b)
    np.testing.assert_allclose(found.difference, a.sums().value() - b.sums().value())
    assert (found.interval.low < found.difference).all()
    assert (found.difference < found.interval.high).all()


def test_units_are_paired_by_name_not_by_place() -> None:
    a = evidence(np.linspace(0.4, 0.9, 8), seed=0)
    order = np.random.default_rng(0).permutation(8)
    b = replace(a, units=a.units[order], totals=a.totals[order], validation=a.validation[order])
    found = compare_maps(a, b)
    np.testing.assert_array_equal(found.difference, np.zeros(8))
    rank = ranks_of(a, b)
    assert rank.value == pytest.approx(1.0)
    assert rank.low > 0.99


def test_intervals_of_differences_cover_and_are_paired() -> None:
    covered, widths, single = [], [], []
    for seed in range(60):
        hard = np.random.default_rng(1000 + seed).normal(0, 0.15, GROUPS)
        a = evidence(np.full(8, 0.65), seed=seed, hard=hard)
        b = evidence(np.full(8, 0.6), seed=500 + seed, hard=hard)
        found = compare_maps(a, b, draws=400, seed=seed)
        covered.append((found.interval.low <= 0.05) & (found.interval.high >= 0.05))
        widths.append((found.interval.high - found.interval.low).mean())
        independent = compare_maps(a, evidence(np.full(8, 0.6), seed=900 + seed, hard=-hard))
        single.append((independent.interval.high - independent.interval.low).mean())
    assert 0.92 <= np.mean(covered) <= 0.98
    assert np.mean(widths) < 0.8 * np.mean(single)


def test_only_common_groups_count() -> None:
    a, b = evidence(np.full(4, 0.7), seed=0), evidence(np.full(4, 0.7), seed=1)
    b = replace(b, groups=b.groups + 30)
    found = compare_maps(a, b)
    assert found.groups == 30
    want = a.totals[:, 30:].sum(1) / 300 - b.totals[:, :30].sum(1) / 300
    np.testing.assert_allclose(found.difference, want)


def test_maps_without_common_groups_are_refused() -> None:
    a = evidence(np.full(4, 0.7))
    with pytest.raises(UserError, match="0 common groups"):
        compare_maps(a, replace(a, groups=a.groups + 1000))


def test_maps_of_different_metrics_are_refused() -> None:
    a = evidence(np.full(4, 0.7))
    with pytest.raises(UserError, match=r"holds accuracy, that of 'upos' logit_difference"):
        compare_maps(a, replace(a, metric="logit_difference"))


@pytest.mark.parametrize(("spread", "noise"), [(0.5, 0.15), (0.1, 0.03)])
def test_rank_correlation_is_covered_and_its_noise_removed(spread: float, noise: float) -> None:
    truth = np.linspace(0.5 - spread / 2, 0.5 + spread / 2, 60)
    other = truth + np.random.default_rng(7).normal(0, noise, 60)  # one fixed second model
    target = stats.spearmanr(truth, other).statistic
    ranks = [
        ranks_of(evidence(truth, seed=s), evidence(other, seed=100 + s), draws=10)
        for s in range(60)
    ]
    expected = np.mean([rank.value for rank in ranks])
    assert np.mean([rank.low <= expected <= rank.high for rank in ranks]) >= 0.93
    assert expected < target  # noise lowers it
    assert np.mean([rank.corrected for rank in ranks]) == pytest.approx(target, abs=0.05)


def test_unrelated_orders() -> None:
    random = np.random.default_rng(3)
    rank = ranks_of(
        evidence(random.random(60), seed=0, layers=6), evidence(random.random(60), layers=6)
    )
    assert rank.low < 0.3 and rank.high > -0.3


def test_models_of_different_depth_are_compared_by_relative_depth() -> None:
    deep = evidence(np.repeat(np.linspace(0.4, 0.8, 12), 3), layers=12, seed=0)
    shallow = evidence(np.repeat(np.linspace(0.4, 0.8, 3), 5), layers=3, seed=1)
    found = compare_maps(deep, shallow)
    assert found.units == [] and found.rank is None
    profile = found.profiles["encoder"]
    assert len(profile.depth) == 12
    accuracy = shallow.sums().value().reshape(3, 5).mean(axis=1)
    want = np.interp(profile.depth, [0, 0.5, 1], accuracy)
    np.testing.assert_allclose(profile.second, want)
    assert np.abs(profile.difference).max() < 0.06
    inside = (profile.interval.low <= 0) & (profile.interval.high >= 0)
    assert inside.mean() > 0.8


def test_streams_are_kept_apart() -> None:
    a = evidence(np.full(8, 0.7))
    a = replace(a, streams=("encoder",) * 4 + ("decoder",) * 4)
    found = compare_maps(a, a)
    assert set(found.profiles) == {"encoder", "decoder"}
    assert [len(p.depth) for p in found.profiles.values()] == [2, 2]
