"""Rank correlations over units, of samples of units too, and how sure one is of them.

Symbols: ``B`` resamples, ``U`` units, ``G`` groups.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata
from scipy.stats import t as student

from probes.statistics.group_sums import GroupSums
from probes.statistics.groups import Array

HALVES = 50
"""Random divisions of the groups, for the reliability of an order of heads."""
Transform = Callable[[Array], Array]
Correlate = Callable[[Array, Array], Array]


def spearman(x: Array, y: Array) -> Array:
    """Rank correlation of the rows of (B, U) and (B, U): (B,); NaN where a row is constant."""
    return pearson(rankdata(x, axis=1), rankdata(y, axis=1))


def pearson(x: Array, y: Array) -> Array:
    """Correlation along the last axis: (..., U), (..., U) -> (...); NaN where a row is constant."""
    x, y = (values - values.mean(axis=-1, keepdims=True) for values in (x, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        rho: Array = (x * y).sum(axis=-1) / np.sqrt((x**2).sum(axis=-1) * (y**2).sum(axis=-1))
    return rho


def weighted_spearman(x: Array, y: Array, weights: Array) -> Array:
    """The rank correlation over a population from a sample of its units: (B, U), (B, U) -> (B,).

    Ranks and moments are estimated with each unit counted ``weights`` times, the inverse of the
    probability with which it was drawn (Horvitz and Thompson 1952). Equal weights give Spearman's.

    weights: (U,), above 0.
    """
    share = weights / weights.sum()
    x, y = (_weighted_ranks(values, share) for values in (x, y))
    x, y = (ranks - (ranks * share).sum(axis=1, keepdims=True) for ranks in (x, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        rho: Array = (share * x * y).sum(axis=1) / np.sqrt(
            (share * x**2).sum(axis=1) * (share * y**2).sum(axis=1)
        )
    return rho


def _weighted_ranks(values: Array, share: Array) -> Array:
    """(B, U) share of the population below each value, ties counted half."""
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    shares = share[order]
    above = shares.cumsum(axis=1)
    ranks = np.empty_like(values)
    np.put_along_axis(ranks, order, above - shares / 2, axis=1)
    tied = (np.diff(ordered, axis=1) == 0).any(axis=1)
    for row in np.flatnonzero(tied):
        starts = np.flatnonzero(np.concatenate([[True], np.diff(ordered[row]) != 0]))
        size = np.diff(np.append(starts, len(share)))
        total = np.add.reduceat(shares[row], starts)
        low = np.concatenate([[0.0], above[row]])[starts]
        ranks[row, order[row]] = np.repeat(low + total / 2, size)
    return ranks


def fisher(correlation: Array) -> Array:
    """Fisher's scale, on which the error of a correlation hardly depends on its size."""
    scaled: Array = np.arctanh(np.clip(correlation, -0.999999, 0.999999))
    return scaled


STRETCHED = 1.0
"""Reach of an interval on Fisher's scale from which on it says little: the tanh of 1 is .76."""


def jackknife_variance(without: Array) -> float:
    """Of an estimate, from its values without each group in turn (G,)."""
    groups = len(without)
    return float((groups - 1) / groups * ((without - without.mean()) ** 2).sum())


def fisher_interval(
    value: float, parts: list[tuple[float, float]], confidence: float
) -> tuple[float, float]:
    """Interval of a correlation from independent parts of its variance on Fisher's scale.

    parts: variance and degrees of freedom of each; several are added with Welch and Satterthwaite's
        degrees of freedom. None: NaN.

    Close to 1 Fisher's scale stretches small changes of ranks: leaving out groups that take a
    correlation from .98 to .997 would give .99 an interval from below 0. Where the reach passes
    ``STRETCHED``, the end that is nearer to 0 is that of the plain scale (the delta method), if
    that is the narrower.
    """
    variance = sum(part for part, _ in parts)
    if not parts or not np.isfinite(variance):
        return float("nan"), float("nan")
    spread = sum(part**2 / freedom for part, freedom in parts)
    freedom = variance**2 / spread if spread > 0 else 1.0
    reach = -student.ppf((1 - confidence) / 2, freedom) * np.sqrt(variance)
    low, high = (float(end) for end in np.tanh(fisher(np.array(value)) + np.array([-reach, reach])))
    if reach > STRETCHED:
        plainly = reach * (1 - value**2)
        if value > 0:
            low = max(low, value - plainly)
        else:
            high = min(high, value + plainly)
    return low, high


def random_halves(groups: int, seed: int) -> npt.NDArray[np.bool_]:
    """(``HALVES``, G) members of one half of each random division of the groups."""
    random = np.random.default_rng(seed)
    return np.stack([random.permutation(groups) < groups // 2 for _ in range(HALVES)])


def plain(values: Array) -> Array:
    """The values as they are."""
    return values


def reliability(
    sums: GroupSums,
    halves: npt.NDArray[np.bool_],
    *,
    transform: Transform = plain,
    correlate: Correlate = spearman,
) -> float:
    """Correlation of an order of units with one from other groups, as many as there are.

    Of two halves of the groups, stepped up to all of them (Spearman and Brown 1910); 0 where noise
    hides the order.
    """
    first, second = (transform(sums.resampled(half * 1.0)) for half in (halves, ~halves))
    alike = float(correlate(first, second).mean())
    return max(2 * alike / (1 + alike), 0.0)
