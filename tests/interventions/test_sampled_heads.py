"""A sample of heads that estimates numbers over all heads."""

from __future__ import annotations

import numpy as np

from probes.interventions.sampled_heads import sample_heads


def test_weighted_means_over_draws_are_those_of_all_heads() -> None:
    rng = np.random.default_rng(0)
    effects = rng.normal(size=60)
    guess = effects + rng.normal(size=60)
    estimates = []
    for seed in range(4000):
        picked = sample_heads([guess], 10, seed=seed)
        estimates.append((effects[picked.chosen] * picked.weights).sum() / 60)
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - effects.mean()) < 4 * error
    # Without weights the mean over the heads that were edited is another one.
    size = np.abs(effects)
    plain = [size[sample_heads([guess], 10, seed=s).chosen].mean() for s in range(40)]
    assert np.mean(plain) > 1.1 * size.mean()


def test_the_best_by_each_score_are_certain() -> None:
    one, other = np.zeros(20), np.zeros(20)
    one[3], one[4], other[17] = -5, 4, 1  # the largest of either sign
    other[0] = np.nan
    for seed in range(30):
        picked = sample_heads([one, other], 2, seed=seed)
        certain = picked.chosen[picked.weights == 1]
        assert {3, 4, 17} <= set(certain.tolist())
        assert picked.weights.sum() == 20 and len(set(picked.chosen)) == len(picked.chosen)


def test_more_than_there_are_is_all_of_them() -> None:
    picked = sample_heads([np.arange(6.0)], 50, seed=0)
    assert picked.chosen.tolist() == list(range(6)) and (picked.weights == 1).all()
