"""Agreement of two maps: against scipy and brute force, and on data whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from probes.core.errors import UserError
from probes.statistics.agreement import agree, coincidence, layer_codes, permute_within
from probes.statistics.maps import MapEvidence
from probes.statistics.merge import merge_units
from tests.evaluation.planted_effects import effects_evidence

SHAPE = (6,) * 10
U = sum(SHAPE)


def correlated(seed: int, rho: float) -> tuple[np.ndarray, np.ndarray]:
    """Two vectors of true effects (U,) of about this correlation."""
    random = np.random.default_rng(seed)
    x = random.normal(size=U)
    return x, rho * x + np.sqrt(1 - rho**2) * random.normal(size=U)


def pair(
    seed: int, x: np.ndarray, y: np.ndarray, *, noise: float = 1.0, first_group: int = 100
) -> tuple[MapEvidence, MapEvidence]:
    return (
        effects_evidence(x, SHAPE, groups=40, noise=noise, seed=2 * seed),
        effects_evidence(y, SHAPE, groups=40, noise=noise, seed=2 * seed + 1, method="patching",
                         probe="denoise", first_group=first_group),
    )  # fmt: skip


def test_value_and_interval_equal_scipy_and_a_brute_jackknife() -> None:
    a, b = pair(0, *correlated(0, 0.6))
    found = agree(a, b)
    x, y = (m.totals.sum(axis=1) / m.rows.sum() for m in (a, b))
    assert found.value == pytest.approx(stats.spearmanr(x, y).statistic)
    G = len(a.groups)
    without = []
    for g in range(G):
        kept = np.arange(G) != g
        left = [m.totals[:, kept].sum(axis=1) / m.rows[kept].sum() for m in (a, b)]
        without.append(np.arctanh(stats.spearmanr(*left).statistic))
    error = np.sqrt((G - 1) / G * ((np.array(without) - np.mean(without)) ** 2).sum())
    reach = stats.t.ppf(0.975, G - 1) * error
    want = np.tanh(np.arctanh(found.value) + np.array([-reach, reach]))
    assert (found.low, found.high) == pytest.approx(tuple(want))
    assert (found.groups, found.own_groups, found.sampled) == (G, (G, G), False)


def test_units_are_paired_by_name_and_only_common_groups_count() -> None:
    a, b = pair(1, *correlated(1, 0.5))
    order = np.random.default_rng(0).permutation(U)
    mixed = replace(b, units=b.units[order], totals=b.totals[order],
                    validation=b.validation[order])  # fmt: skip
    assert agree(a, mixed).value == pytest.approx(agree(a, b).value)
    later = replace(b, groups=b.groups + 15)
    found = agree(a, later)
    assert found.groups == 25
    x, y = a.totals[:, 15:].sum(axis=1), b.totals[:, :25].sum(axis=1)
    assert found.value == pytest.approx(stats.spearmanr(x, y).statistic)


def test_sides_without_common_groups_are_jackknifed_each_and_variances_added() -> None:
    a, b = pair(2, *correlated(2, 0.6), first_group=5000)
    found = agree(a, b)
    assert found.groups == 0 and np.isnan(found.between_halves)
    x, y = (m.sums().value() for m in (a, b))
    variances = []
    for m, other, first in ((a, y, True), (b, x, False)):
        leave = (m.totals.sum(axis=1, keepdims=True) - m.totals) / 156  # 39 groups of 4 rows
        z = np.arctanh([stats.spearmanr(*((v, other) if first else (other, v))).statistic
                        for v in leave.T])  # fmt: skip
        variances.append(39 / 40 * ((z - z.mean()) ** 2).sum())
    freedom = sum(variances) ** 2 / sum(v**2 / 39 for v in variances)
    reach = stats.t.ppf(0.975, freedom) * np.sqrt(sum(variances))
    want = np.tanh(np.arctanh(found.value) + np.array([-reach, reach]))
    assert (found.low, found.high) == pytest.approx(tuple(want))


def test_a_side_without_groups_adds_no_variance() -> None:
    a, b = pair(3, *correlated(3, 0.6))
    score = replace(b, groups=b.groups[:1] - 100, rows=np.array([1]),
                    totals=b.sums().value()[:, None])  # fmt: skip
    both = agree(a, replace(b, groups=b.groups + 9000))
    one = agree(a, score)
    assert one.value == pytest.approx(both.value)
    assert both.low < one.low < one.value < one.high < both.high
    assert one.own_groups == (40, 1)
    nothing = agree(score, replace(score, totals=a.sums().value()[:, None]))
    assert np.isnan([nothing.low, nothing.high]).all() and nothing.own_groups == (1, 1)


@pytest.mark.parametrize("common", [True, False])
def test_intervals_cover_the_correlation_that_such_texts_give(common: bool) -> None:
    x, y = correlated(4, 0.7)
    found = [agree(*pair(s, x, y, first_group=100 if common else 5000), permutations=1)
             for s in range(150)]  # fmt: skip
    expected = np.mean([one.value for one in found])
    covered = np.mean([one.low <= expected <= one.high for one in found])
    assert 0.91 <= covered <= 0.995
    truth = stats.spearmanr(x, y).statistic
    assert expected < truth  # noise lowers it, and the ceiling says by how much
    assert np.mean([one.value / one.ceiling for one in found]) == pytest.approx(truth, abs=0.05)


def test_shared_noise_is_seen_between_disjoint_halves() -> None:
    """Maps without any true order, whose groups move the same heads."""
    within, between = [], []
    for seed in range(20):
        shared = np.random.default_rng(seed).normal(size=(U, 40))
        a, b = (
            effects_evidence(
                np.zeros(U), SHAPE, groups=40, shared=shared, noise=0.5, seed=2 * seed + i
            )
            for i in (0, 1)
        )
        found = agree(a, b, permutations=1)
        within.append(found.within_halves)
        between.append(found.between_halves)
    assert np.mean(within) > 0.6
    assert abs(np.mean(between)) < 0.05


def test_layers_alone_do_not_pass_for_agreement() -> None:
    by_layer = np.repeat(np.linspace(0, 5, 10), 6)
    p = []
    for seed in range(60):
        random = np.random.default_rng(seed)
        x, y = by_layer + random.normal(size=U), by_layer + random.normal(size=U)
        found = agree(*pair(seed, x, y, noise=0.1), permutations=199, seed=seed)
        assert found.value > 0.6
        assert found.null.low < found.null.mean < found.null.high
        p.append(found.null.p)
    assert np.mean(np.array(p) <= 0.05) <= 0.12
    assert np.mean(p) == pytest.approx(0.5, abs=0.12)  # uniform
    x, y = correlated(5, 0.8)
    related = agree(*pair(5, by_layer + x, by_layer + y, noise=0.1))
    assert related.null.p <= 0.01 and related.value > related.null.high


def test_permutations_stay_in_their_layer_and_reach_every_head() -> None:
    layers = layer_codes([("d", u % 3, u // 3) for u in range(12)])
    drawn = permute_within(layers, 400, np.random.default_rng(0))
    np.testing.assert_array_equal(layers[drawn], np.tile(layers, (400, 1)))
    np.testing.assert_array_equal(np.sort(drawn, axis=1), np.tile(np.arange(12), (400, 1)))
    assert all(len(np.unique(drawn[:, u])) == 4 for u in range(12))


def test_whole_layers_have_no_layer_matched_null() -> None:
    a = effects_evidence(np.arange(8.0), (1,) * 8, site="residual", seed=0)
    assert np.isnan(agree(a, a).null.mean)


def test_a_head_that_hurts_is_found_by_size() -> None:
    """A probe names the negative head, the effect has it last: only sizes agree."""
    effect = np.random.default_rng(6).normal(size=U)
    probe, ablation = pair(6, np.abs(effect), effect, noise=0.2)
    oriented, size = agree(probe, ablation), agree(probe, ablation, absolute=(False, True))
    assert abs(oriented.value) < 0.4 < 0.8 < size.value
    np.testing.assert_allclose(size.second, ablation.sums().value())  # the scatter keeps the sign
    assert size.hits.forward > 0.6 > oriented.hits.forward


def test_hits_are_chosen_on_validation_and_looked_up_on_test() -> None:
    x = np.arange(U, dtype=float)
    a, b = pair(7, x, x, noise=0.01)
    assert (agree(a, b, k=5).hits.forward, agree(a, b, k=5).hits.backward) == (1.0, 1.0)
    wrong = agree(replace(a, validation=-a.validation), b, k=5).hits
    assert (wrong.forward, wrong.backward) == (0.0, 1.0)
    # The last layer's six heads hold all five of both: any five of them would be hit by 5 * 5 / 6.
    assert agree(a, b, k=5).hits.chance == pytest.approx(5 * 5 / 6 / 5)
    unknown = replace(a, validation=np.full(U, np.nan))
    assert agree(unknown, b, k=5).hits.forward == 1.0
    assert agree(a, b, k=500).hits.k == U // 3


def sampled(full: MapEvidence, keep: np.ndarray, weights: np.ndarray) -> MapEvidence:
    return replace(full, units=full.units[keep], streams=tuple(full.streams[u] for u in keep),
                   totals=full.totals[keep], validation=full.validation[keep],
                   weights=weights)  # fmt: skip


def test_a_sample_of_heads_estimates_the_correlation_over_all() -> None:
    """The top 20 by the first method and 20 of the other 220: unweighted, it reads too high."""
    shape = (24,) * 10
    heads = sum(shape)
    random = np.random.default_rng(8)
    x = random.standard_exponential(heads) ** 2
    y = 0.5 * x + random.standard_exponential(heads) ** 2
    a = effects_evidence(x, shape, noise=0.02, seed=0)
    b = effects_evidence(y, shape, noise=0.02, seed=1)
    truth = agree(a, b, permutations=1).value
    weighted, unweighted, covered = [], [], []
    order = np.argsort(-a.validation)
    for seed in range(80):
        draw = np.random.default_rng(seed).choice(order[20:], size=20, replace=False)
        keep = np.concatenate([order[:20], draw])
        weights = np.repeat([1.0, 220 / 20], 20)
        found = agree(a, sampled(b, keep, weights), permutations=1)
        assert found.sampled and len(found.units) == 40
        weighted.append(found.value)
        covered.append(found.low <= truth <= found.high)
        unweighted.append(agree(a, sampled(b, keep, np.ones(40)), permutations=1).value)
    assert np.mean(weighted) == pytest.approx(truth, abs=0.05)
    assert abs(np.mean(unweighted) - truth) > 0.15
    assert np.mean(covered) >= 0.88


def test_parts_of_a_sample_are_merged_with_their_weights() -> None:
    a, _ = pair(9, *correlated(9, 0.5))
    first, second = np.arange(0, 6), np.arange(6, 9)
    parts = [
        sampled(a, first, np.full(6, 2.0)),
        replace(sampled(a, second, np.ones(3)), weights=None),
    ]
    merged = merge_units(parts)
    assert merged.weights is not None
    np.testing.assert_array_equal(merged.weights, [2.0] * 6 + [1.0] * 3)


def test_too_few_units_or_other_sites_are_refused() -> None:
    a, b = pair(10, *correlated(10, 0.5))
    with pytest.raises(UserError, match="0 units in common"):
        agree(a, replace(b, streams=("encoder",) * U))
    with pytest.raises(UserError, match="one site"):
        agree(a, replace(b, site="residual"))


def test_verdicts_of_several_methods_are_compared_with_chance_by_layer() -> None:
    layers = np.repeat(np.arange(10), 6)
    random = np.random.default_rng(11)
    named = np.zeros((3, U), dtype=bool)
    named[:, :3] = True  # all three name the same heads of the first layer
    assert coincidence(named, layers).count == 3
    real = coincidence(named[:2], layers)
    # Two methods with 3 of 6 heads each: 6 * (1/2)^2 in common by chance.
    assert real.expected == pytest.approx(1.5, abs=0.1)
    assert real.p == pytest.approx(1 / 20, abs=0.03)  # one of the 20 subsets of three
    apart = random.permuted(np.tile(np.arange(U) < 3, (2, 1)), axis=1)
    assert coincidence(apart, layers).p > 0.05


@pytest.mark.parametrize("side", [0, 1])
def test_a_map_whose_heads_are_all_alike_agrees_with_nothing(side: int) -> None:
    maps = list(pair(3, *correlated(3, 0.5)))
    flat = maps[side]
    maps[side] = replace(
        flat, totals=np.zeros_like(flat.totals), validation=np.zeros_like(flat.validation)
    )
    found = agree(*maps)
    assert np.isnan([found.value, found.low, found.null.p, found.hits.forward]).all()
    assert np.isnan([found.hits.backward, found.hits.chance, found.null.mean]).all()
