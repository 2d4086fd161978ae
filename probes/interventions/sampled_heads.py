"""Which heads are edited where not all of them are: the best by cheaper numbers, and a sample.

Selection changes a correlation: over the best heads alone it is another one than over all. So some
of the others are drawn too, with a known probability, and every head edited stands for a known
number of heads (Horvitz and Thompson 1952).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probes.statistics.groups import Array


@dataclass(frozen=True)
class SampledHeads:
    """Some of H heads."""

    chosen: np.ndarray
    """(K,) positions of those that are edited, ascending."""
    weights: Array
    """(K,) how many heads each stands for; they sum to H."""


def sample_heads(scores: Sequence[Array], top: int, *, seed: int) -> SampledHeads:
    """The ``top`` best heads by each of some scores, and as many of the others by chance.

    The others are drawn at equal distances from a random start, so that all depths are there.

    scores: (H,) each, larger in absolute value is better, of validation rows; NaN counts as least.

    >>> picked = sample_heads([np.array([0.0, 3.0, 0.1, 0.2, 0.3, 0.1])], 1, seed=0)
    >>> 1 in picked.chosen, len(picked.chosen), picked.weights.sum()
    (True, 2, np.float64(6.0))
    """
    count = len(scores[0])
    best: set[int] = set()
    for of_score in scores:
        size = np.nan_to_num(np.abs(of_score), nan=-1.0)
        best |= set(np.argsort(-size, kind="stable")[:top].tolist())
    rest = np.array([head for head in range(count) if head not in best], dtype=np.int64)
    drawn = min(len(best), len(rest))
    weights = np.ones(count)
    picked = np.zeros(0, dtype=np.int64)
    if drawn:
        step = len(rest) / drawn
        start = np.random.default_rng(seed).uniform(0, step)
        picked = rest[np.floor(start + step * np.arange(drawn)).astype(np.int64)]
        weights[picked] = step
    chosen = np.array(sorted({*best, *picked.tolist()}), dtype=np.int64)
    return SampledHeads(chosen, weights[chosen])
