"""Tests over whole maps: exact where they can be enumerated, at their level where they cannot."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from probes.statistics.significance import family_wise, permutation_test, sign_flip_test


def test_sign_flips_of_few_groups_are_enumerated() -> None:
    random = np.random.default_rng(0)
    differences = random.integers(-3, 6, size=(4, 7)).astype(float)
    test = sign_flip_test(differences, seed=0)
    signs = np.array(list(product([1, -1], repeat=7)))
    for head, d in enumerate(differences):
        assert test.p[head] == pytest.approx(((signs @ d) >= d.sum() - 1e-9).mean())
    assert test.smallest == pytest.approx(0.5**7)


def test_sign_flips_equal_scipy() -> None:
    random = np.random.default_rng(1)
    d = random.normal(0.25, 1, size=(1, 40))
    expected = stats.permutation_test(
        (d[0],), np.mean, permutation_type="samples", alternative="greater", n_resamples=9999,
        rng=np.random.default_rng(2),
    ).pvalue  # fmt: skip
    assert sign_flip_test(d, seed=0).p[0] == pytest.approx(expected, abs=0.012)


def test_thousands_of_groups() -> None:
    d = np.random.default_rng(1).normal(0.1, 1, size=(2, 3000))
    assert (sign_flip_test(d, seed=0).p < 0.01).all()


def test_slices_of_flips_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    d = np.random.default_rng(1).normal(size=(5, 30))
    whole = sign_flip_test(d, seed=0)
    monkeypatch.setattr("probes.statistics.significance.CELLS", 3000)
    np.testing.assert_array_equal(whole.p, sign_flip_test(d, seed=0).p)


def test_a_head_that_never_differs_is_not_significant() -> None:
    d = np.vstack([np.zeros(30), np.ones(30)])
    test = sign_flip_test(d, seed=0)
    assert test.p[0] == test.p_familywise[0] == 1.0
    assert test.p[1] == test.smallest == 1e-4


def test_family_wise_equals_the_definition() -> None:
    random = np.random.default_rng(3)
    observed, null = random.normal(1, 1, 6), random.normal(size=(200, 6))
    got = family_wise(observed, null)
    order, running = np.argsort(-observed), 0.0
    for step, head in enumerate(order):
        rest = null[:, order[step:]].max(axis=1)
        running = max(running, (1 + (rest >= observed[head]).sum()) / 201)
        assert got[head] == pytest.approx(running)


def test_family_wise_holds_its_level_where_every_head_alone_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("probes.statistics.significance.FLIPS", 999)
    # 300 maps of 64 correlated heads of noise; groups of unequal spread.
    random = np.random.default_rng(4)
    shape = (64, 30)
    rejected, naive = [], []
    for seed in range(300):
        d = random.normal(size=shape) + random.normal(size=(1, 30))
        d = np.round(d * np.geomspace(1, 10, 30) * np.geomspace(1, 1000, 64)[:, None])
        test = sign_flip_test(d, seed=seed)
        rejected.append(test.p_familywise.min() <= 0.05)
        naive.append(test.p.min() <= 0.05)
    assert 0.02 <= np.mean(rejected) <= 0.08
    assert np.mean(naive) > 0.4


def test_permutation_p_values_count_the_observation() -> None:
    observed, permuted = np.array([3.0, 0.0]), np.array([[1.0, 1.0], [2.0, 0.0], [3.0, -1.0]])
    np.testing.assert_allclose(permutation_test(observed, permuted).p, [2 / 4, 3 / 4])


def test_permutation_scales_do_not_matter() -> None:
    random = np.random.default_rng(5)
    observed, permuted = random.normal(size=20), random.normal(size=(99, 20))
    observed[3] += 6
    scale = np.geomspace(1, 1000, 20)
    plain, scaled = permutation_test(observed, permuted), permutation_test(
        observed * scale, permuted * scale
    )  # fmt: skip
    np.testing.assert_allclose(plain.p_familywise, scaled.p_familywise)
    assert plain.p_familywise[3] == plain.smallest == 0.01


def test_q_values_find_one_head_in_a_thousand_with_few_permutations() -> None:
    random = np.random.default_rng(6)
    observed, permuted = random.normal(size=1024), random.normal(size=(99, 1024))
    observed[:5] += 9
    test = permutation_test(observed, permuted)
    assert (test.q[:5] < 0.05).all()
    assert (test.q[5:] > 0.05).mean() > 0.99


def test_false_discoveries_are_a_twentieth() -> None:
    random = np.random.default_rng(7)
    shares = []
    for _ in range(100):
        observed, permuted = random.normal(size=200), random.normal(size=(99, 200))
        observed[:40] += 3.5
        found = permutation_test(observed, permuted).q <= 0.05
        shares.append(found[40:].sum() / max(found.sum(), 1))
    assert np.mean(shares) <= 0.05 + 2 * np.std(shares) / 10


def test_two_sided_flips_of_few_groups_are_enumerated() -> None:
    differences = np.random.default_rng(0).normal(-0.5, 1, size=(4, 7))
    test = sign_flip_test(differences, seed=0, two_sided=True)
    signs = np.array(list(product([1, -1], repeat=7)))
    for unit, d in enumerate(differences):
        assert test.p[unit] == pytest.approx((abs(signs @ d) >= abs(d.sum()) - 1e-9).mean())
    assert test.smallest == pytest.approx(2 * 0.5**7)


def test_two_sided_flips_equal_scipy() -> None:
    d = np.random.default_rng(1).normal(-0.25, 1, size=(1, 40))
    expected = stats.permutation_test(
        (d[0],), np.mean, permutation_type="samples", alternative="two-sided", n_resamples=9999,
        rng=np.random.default_rng(2),
    ).pvalue  # fmt: skip
    assert sign_flip_test(d, seed=0, two_sided=True).p[0] == pytest.approx(expected, abs=0.015)


def test_a_negative_unit_is_significant_two_sided_only() -> None:
    d = np.random.default_rng(2).normal(size=(50, 30))
    d[7] -= 1.5
    one_sided, two_sided = (sign_flip_test(d, seed=0, two_sided=two) for two in (False, True))
    assert one_sided.p[7] > 0.99 and one_sided.p_familywise[7] > 0.99
    assert two_sided.p_familywise[7] < 0.01 and two_sided.q[7] < 0.01
    assert (two_sided.p_familywise <= 0.05).sum() == 1
