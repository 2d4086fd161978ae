"""Tests over a whole map: which units are above chance, given that so many were tested.

A unit is a head, or a layer at whole-layer sites. Each test yields three numbers a unit. ``p``: the
chance of such a value, had one tested this unit alone. ``p_familywise``: the chance that the best
of all units reaches it where all null hypotheses hold (maximum statistic; Westfall and Young 1993,
Nichols and Holmes 2002). ``q``: the share of false discoveries among all units at least as good
(Benjamini and Hochberg 1995). Symbols: ``H`` units, ``G`` groups, ``P`` permutations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import false_discovery_control

from probes.statistics.groups import Array

FLIPS = 9999
"""Random sign patterns: p-values in steps of 0.0001."""
CELLS = 4_000_000


@dataclass(frozen=True)
class MapTest:
    """Significance of every unit of a map."""

    p: Array
    """(H,) for the unit alone."""
    p_familywise: Array
    """(H,) corrected for all units: below 0.05, one map in twenty has a false unit."""
    q: Array
    """(H,) false discovery rate at which the unit is discovered."""
    smallest: float
    """The smallest p-value that the test can give."""
    null: str
    """What the p-values refute, in words."""


def sign_flip_test(
    differences: Array, *, seed: int, null: str = "", two_sided: bool = False
) -> MapTest:
    """Test whether differences summed over groups are above zero, without refitting anything.

    Null hypothesis: in a new group the difference is not above zero on average, and the groups'
    differences are independent of each other and symmetric about zero (with many groups the second
    half hardly matters). It is a statement about the trained probe, or the measured effect; a head
    whose probe was trained badly is not significant. Under it every group's sign is as likely as
    its opposite; flipping a group in all units at once keeps the correlation between units.
    Statistics are divided by the root of the sum of squares, which flips leave alone, so that units
    compare; they rise with the t-statistic over groups. With few groups all sign patterns are
    enumerated and the test is exact.

    differences: (H, G), summed over the rows of each group: rows right of the probe minus those of
        the majority or of its control; effects; effects minus those of a matched control.
    null: what is refuted, in words.
    two_sided: whether values far below zero count as much (heads that work against an answer). The
        statistic is then the absolute value.
    """
    H, G = differences.shape
    exact = np.log2(FLIPS + 1) >= G  # not 2**G: it overflows from 1,024 groups on
    flips = 2**G - 1 if exact else FLIPS
    scale = np.sqrt((differences**2).sum(axis=1))  # (H,)
    scale[scale == 0] = 1.0  # no difference anywhere: the statistic is 0 and p is 1
    observed = differences.sum(axis=1) / scale
    if two_sided:
        observed = np.abs(observed)
    order = np.argsort(observed, kind="stable")
    alone, best = np.zeros(H, dtype=np.int64), np.zeros(H, dtype=np.int64)
    random = np.random.default_rng(seed)
    step = max(1, CELLS // max(G, H))
    for first in range(0, flips, step):  # 10,000 draws of thousands of heads are not kept
        count = min(step, flips - first)
        if exact:  # pattern 0, no flip, is the observation itself
            patterns = np.arange(first + 1, first + count + 1)
            signs = 1.0 - 2.0 * (patterns[:, None] >> np.arange(G) & 1)
        else:
            signs = random.integers(0, 2, size=(count, G)) * 2.0 - 1.0
        values = signs @ differences.T / scale  # (b, H)
        if two_sided:
            np.abs(values, out=values)
        alone += _at_least(values, observed)
        best += _best_at_least(values, observed, order)
    p = (1 + alone) / (1 + flips)
    return MapTest(
        p=p,
        p_familywise=_stepped_down(best, order, flips),
        q=false_discovery_control(p),
        # Two-sided, the pattern that flips every group gives the observation again.
        smallest=(2 if two_sided and exact else 1) / (1 + flips),
        null=null,
    )


def permutation_test(observed: Array, permuted: Array, *, null: str = "") -> MapTest:
    """Test of refitted probes: gains (H,) against gains on permuted labels (P, H).

    The values of every unit are centred by their mean and divided by their standard deviation, the
    observed one among them, so that units of different noise compare and the test stays exact.
    q-values pool the permuted values of all units (Storey and Tibshirani 2003): a unit alone has P
    of them, too few to be discovered among a thousand.
    """
    everything = np.concatenate([observed[None], permuted])  # (1 + P, H)
    scale = everything.std(axis=0)
    scale[scale == 0] = 1.0
    standard = (everything - everything.mean(axis=0)) / scale
    values, first = standard[1:], standard[0]
    pool = np.sort(values, axis=None)
    above = pool.size - np.searchsorted(pool, first - _TOLERANCE)
    return MapTest(
        p=(1 + _at_least(values, first)) / (1 + len(values)),
        p_familywise=family_wise(first, values),
        q=false_discovery_control((1 + above) / (1 + pool.size)),
        smallest=1 / (1 + len(values)),
        null=null,
    )


def family_wise(observed: Array, null: Array) -> Array:
    """Step-down p-values of the maximum statistic: (H,), (B, H) -> (H,).

    The best unit is compared with the maximum of all units, the second best with that of all but
    the best, and so on (Westfall and Young 1993, algorithm 2.8): never weaker than comparing all
    with the same maximum.
    """
    order = np.argsort(observed, kind="stable")
    return _stepped_down(_best_at_least(null, observed, order), order, len(null))


_TOLERANCE = 1e-9
"""Equal counts may differ in their last bits; a tie counts against the unit."""


def _at_least(null_values: Array, observed: Array) -> npt.NDArray[np.int64]:
    counts: npt.NDArray[np.int64] = np.count_nonzero(null_values >= observed - _TOLERANCE, axis=0)
    return counts


def _best_at_least(
    null_values: Array, observed: Array, order: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """(H,) draws in which the best of the units up to each one, worst first, reaches its value."""
    maxima = np.maximum.accumulate(null_values[:, order], axis=1)  # (B, H)
    return _at_least(maxima, observed[order])


def _stepped_down(counts: npt.NDArray[np.int64], order: npt.NDArray[np.int64], draws: int) -> Array:
    """p-values from ``_best_at_least``; a worse unit is never more significant."""
    p = np.maximum.accumulate(((1 + counts) / (1 + draws))[::-1])  # best first
    result = np.empty_like(p)
    result[order[::-1]] = p
    return result
