"""What each head adds to a set of heads: Shapley values.

Heads that do the same stand in for each other, so that ablating one of them alone changes nothing.
The Shapley value of a head is what it adds to a set of the others, averaged over all orders in
which the heads can join (Shapley 1953); the values of all heads sum to the value of the whole set
minus that of the empty one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import combinations
from math import factorial
from typing import TypeVar

import numpy as np

from probes.statistics.groups import Array

Head = TypeVar("Head", bound=Hashable)


def shapley_values(
    heads: Sequence[Head], value: Callable[[frozenset[Head]], Array | float]
) -> Array:
    """The Shapley value of every head: (H, ...), exact.

    heads: the players; ``value`` is called once for each of their 2^H subsets.
    value: what a set of heads reaches, such as the accuracy with only these heads of a layer left
        in place. Where it returns one number for each row (n,), so do the Shapley values (H, n):
        they are linear, so ``statistics.group_sums.mean_sums`` gives intervals over groups of rows.

    >>> reached = {"a": 1.0, "b": 1.0}  # either of the two is enough
    >>> shapley_values(["a", "b"], lambda kept: max([reached[head] for head in kept], default=0.0))
    array([0.5, 0.5])
    """
    worth = {kept: np.asarray(value(kept), dtype=np.float64) for kept in _subsets(heads)}
    return np.stack(
        [
            sum(
                (
                    _share(len(kept), len(heads)) * (worth[kept | {head}] - worth[kept])
                    for kept in _subsets([other for other in heads if other != head])
                ),
                start=np.zeros(()),
            )
            for head in heads
        ]
    )


def _subsets(heads: Sequence[Head]) -> Iterator[frozenset[Head]]:
    """All subsets, the smallest first."""
    for size in range(len(heads) + 1):
        yield from map(frozenset, combinations(heads, size))


def _share(kept: int, players: int) -> float:
    """Share of the orders of all players in which exactly the kept ones precede a given one."""
    return factorial(kept) * factorial(players - kept - 1) / factorial(players)
