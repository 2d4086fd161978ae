"""Permuted labels: as likely as the real ones if activations and labels are independent.

The null hypothesis is that activations and labels are independent, both with whatever dependence
they have among their own rows. A permutation test is valid if permuted labels keep the dependence
among labels. Free permutation of rows destroys it, and then finds far too much: two things that
both drift within a document agree by chance. What is kept here depends on the labels, always within
each split, so that shipped splits may differ and every split keeps its labels:

``groups``    every group has one label in its split: groups exchange their labels. Exact if
              groups are exchangeable.
``blocks``    sentences or answers, several labels in a group: groups of equal size exchange their
              label vectors, and the rows of a group are shuffled, since their order in the file is
              an artefact (true answers first). Sizes with few groups are pooled with the next
              ones. Exact but for the pooled sizes.
``sequence``  words and spans: the label vectors of the groups are strung together in random order,
              rotated by a random offset and laid over the rows. Keeps the dependence of
              neighbouring labels except at the joins; needs labels whose law does not depend on
              the place in a document. The rotation keeps sentences of the same length from being
              exchanged whole, which would give the real labels back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from probes.statistics.groups import Codes, Groups

Kind = Literal["groups", "blocks", "sequence"]
Labels = npt.NDArray[np.int64]
POOL = 8
"""Group sizes that occur less often are pooled with the next larger size."""

WORDS: dict[Kind, str] = {
    "groups": "groups exchange their labels within each split",
    "blocks": "groups of like size exchange their label vectors within each split, rows of a "
    "group shuffled",
    "sequence": "label sequences of whole groups strung together in random order within each "
    "split, rotated and laid over the rows",
}


@dataclass(frozen=True)
class GroupedLabels:
    """Labels of n rows, and what their permutations must respect."""

    labels: Labels
    """(n,) classes."""
    groups: Codes
    """(n,) the group of each row: document, question, ..."""
    split: Codes
    """(n,) the split of each row; labels stay in theirs."""
    ordered: bool
    """Whether the rows of a group are in a meaningful order (the words of a text)."""

    def parts(self) -> list[tuple[Labels, Groups]]:
        """For each split its rows and their groups."""
        parts = [np.flatnonzero(self.split == split) for split in np.unique(self.split)]
        return [(rows, Groups.of(self.groups[rows])) for rows in parts]


@dataclass(frozen=True)
class Exchange:
    """How labels can be permuted."""

    kind: Kind
    log_arrangements: float
    """Natural logarithm of the number of permutations (of distinct labels for ``groups``)."""

    @property
    def words(self) -> str:
        """The scheme in words, for the report."""
        return WORDS[self.kind]

    def smallest_p(self, permutations: int) -> float:
        """The smallest p-value that this many permutations can give."""
        return max(1 / (1 + permutations), float(np.exp(-self.log_arrangements)))


def exchange_of(grouped: GroupedLabels) -> Exchange:
    """The scheme that fits the labels, and how many permutations it has."""
    labels, parts = grouped.labels, grouped.parts()
    if all(_pure(labels[rows], groups) for rows, groups in parts):
        log = 0.0
        for rows, groups in parts:
            counts = np.bincount(labels[rows][groups.order[groups.starts]])
            log += float(gammaln(len(groups) + 1) - gammaln(counts + 1).sum())
        return Exchange("groups", log)
    if not grouped.ordered:
        log = 0.0
        for _, groups in parts:
            log += float(gammaln(groups.sizes + 1).sum())
            log += sum(float(gammaln(len(pool) + 1)) for pool in _pools(groups.sizes))
        return Exchange("blocks", log)
    log = sum(float(gammaln(len(groups) + 1) + np.log(len(rows))) for rows, groups in parts)
    return Exchange("sequence", log)


def permuted_labels(grouped: GroupedLabels, permutations: int, *, seed: int) -> Labels:
    """Label vectors drawn from the null hypothesis: (P, n), see the module for what is kept.

    The classes of each split keep their counts (``groups``: their counts of groups).
    """
    random = np.random.default_rng(seed)
    kind, parts = exchange_of(grouped).kind, grouped.parts()
    permuted = np.empty((permutations, len(grouped.labels)), dtype=np.int64)
    for labels in permuted:
        for rows, groups in parts:
            labels[rows] = _permute(grouped.labels[rows], groups, kind, random)
    return permuted


def _pure(labels: Labels, groups: Groups) -> bool:
    """Whether every group has one label."""
    return bool((labels == labels[groups.order[groups.starts]][groups.index]).all())


def _pools(sizes: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Groups that exchange their labels: those of one size, rare sizes with the next larger."""
    by_size = np.argsort(sizes, kind="stable")
    cuts = np.flatnonzero(np.diff(sizes[by_size])) + 1
    pools: list[npt.NDArray[np.int64]] = []
    waiting: list[npt.NDArray[np.int64]] = []
    for same in np.split(by_size, cuts):
        if len(same) >= POOL and not waiting:
            pools.append(same)
            continue
        waiting.append(same)
        if sum(map(len, waiting)) >= POOL:
            pools.append(np.concatenate(waiting))
            waiting = []
    if waiting:
        last = [pools.pop()] if pools else []
        pools.append(np.concatenate([*last, *waiting]))
    return pools


def _permute(labels: Labels, groups: Groups, kind: Kind, random: np.random.Generator) -> Labels:
    if kind == "groups":
        own = labels[groups.order[groups.starts]]  # (G,)
        return own[random.permutation(len(groups))][groups.index]
    members = np.split(groups.order, groups.starts[1:])  # rows of each group
    result = np.empty_like(labels)
    if kind == "sequence":
        order = random.permutation(len(groups))
        strung = np.concatenate([labels[members[group]] for group in order])
        result[groups.order] = np.roll(strung, random.integers(len(strung)))
        return result
    for pool in _pools(groups.sizes):
        givers = random.permutation(pool)
        strung = np.concatenate([random.permutation(labels[members[g]]) for g in givers])
        result[np.concatenate([members[g] for g in pool])] = strung
    return result
