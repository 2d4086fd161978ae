"""Less of a corpus: at most so many of its texts, in whole groups, drawn from a seed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from probes.core.errors import UserError
from probes.corpora.corpus import TRAIN, UNASSIGNED, Corpus, Feature, Units

LongArray = npt.NDArray[np.int64]


def take(corpus: Corpus, count: int, seed: int) -> Corpus:
    """At most ``count`` texts of a corpus, in its order, as whole groups.

    Every part of a shipped split keeps its share: its groups are taken in a random order, each
    that still fits. A group that is in several parts counts for the one of its first text. Classes
    and features that no longer occur are gone; a note counts what is kept. A corpus that is not
    larger stays as it is.

    Raises:
        UserError: ``count`` is too small for one group of each part, or for the groups that the
            parts which the source does not ship are drawn from.
    """
    total = len(corpus.texts)
    if count >= total:
        return corpus
    groups = corpus.group_codes
    _, first, sizes = np.unique(groups, return_index=True, return_counts=True)  # (G,)
    part_of_group = corpus.splits[first]
    parts = np.unique(part_of_group)
    in_part = [np.flatnonzero(part_of_group == part) for part in parts]  # group codes
    shares = _shares([int(sizes[members].sum()) for members in in_part], count)
    # Parts that the source does not ship are drawn from train later, a group for each at least.
    drawn = 3 - len({TRAIN, *parts[parts >= 0].tolist()})
    least = [1 + drawn if part in (TRAIN, UNASSIGNED) else 1 for part in parts.tolist()]
    generator = np.random.default_rng(seed)
    taken = []
    for members, share, wanted in zip(in_part, shares, least, strict=True):
        fitting = _fitting(generator.permutation(members), sizes, share)
        if len(fitting) < min(wanted, len(members)):
            raise _too_few(corpus, count, [sizes[of_part] for of_part in in_part], least)
        taken += fitting
    keep = np.isin(groups, taken)  # (E,)
    note = (
        f"corpus.max_examples={count}: {int(keep.sum()):,} of {total:,} texts kept, "
        f"{len(taken):,} of {len(sizes):,} {corpus.group_name} groups "
        f"(drawn with corpus.sample_seed={seed})"
    )
    return select(corpus, keep, note)


def select(corpus: Corpus, keep: npt.NDArray[np.bool_], note: str) -> Corpus:
    """The texts of a corpus where ``keep`` (E,) is true, with all that belongs to them."""
    number = np.cumsum(keep) - 1  # (E,) text -> text among the kept
    units = corpus.units
    kept_units = keep[units.example]  # (U,)
    features = {
        name: kept
        for name, feature in corpus.features.items()
        if (kept := _select_feature(feature, kept_units)) is not None
    }
    gone = [name for name in corpus.features if name not in features]
    lost = [f"no value of {', '.join(gone)} is left"] if gone else []
    return replace(
        corpus,
        texts=tuple(_where(corpus.texts, keep)),
        groups=tuple(_where(corpus.groups, keep)),
        splits=corpus.splits[keep],
        units=Units(
            example=number[units.example[kept_units]].astype(np.int32),
            start=units.start[kept_units],
            end=units.end[kept_units],
            level=units.level[kept_units],
        ),
        features=features,
        default_features=tuple(name for name in corpus.default_features if name in features),
        notes=(*corpus.notes, note, *lost),
        answers=tuple(
            replace(answer, example=int(number[answer.example]))
            for answer in corpus.answers
            if keep[answer.example]
        ),
        contrasts=tuple(
            replace(contrast, example=int(number[contrast.example]))
            for contrast in corpus.contrasts
            if keep[contrast.example]
        ),
        answered_at={
            int(number[example]): start
            for example, start in corpus.answered_at.items()
            if keep[example]
        },
    )


def _shares(sizes: list[int], count: int) -> list[int]:
    """``count`` divided in proportion to the sizes, by largest remainders."""
    exact = [size * count / sum(sizes) for size in sizes]
    shares = [math.floor(share) for share in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda part: shares[part] - exact[part])
    for part in by_remainder[: count - sum(shares)]:
        shares[part] += 1
    return shares


def _fitting(order: LongArray, sizes: LongArray, share: int) -> list[int]:
    """The groups of ``order`` that fit into ``share`` texts, one after the other."""
    fitting = []
    for group in order.tolist():
        if sizes[group] <= share:
            fitting.append(group)
            share -= int(sizes[group])
    return fitting


def _select_feature(feature: Feature, kept: npt.NDArray[np.bool_]) -> Feature | None:
    """The feature on the kept units, with the classes that occur there; None without any."""
    codes = feature.codes[kept]
    present = np.unique(codes[codes >= 0])
    if not len(present):
        return None
    if feature.of_rows:  # its classes are those of rows, whatever the units
        return replace(feature, codes=codes)
    new_code = np.full(len(feature.classes) + 1, -1, dtype=np.int32)  # the last one: no value
    new_code[present] = np.arange(len(present))
    classes = tuple(feature.classes[code] for code in present.tolist())
    return replace(feature, classes=classes, codes=new_code[codes])


def _where(items: Iterable[str], keep: npt.NDArray[np.bool_]) -> Iterable[str]:
    return (item for item, kept in zip(items, keep.tolist(), strict=True) if kept)


def _too_few(corpus: Corpus, count: int, sizes: list[LongArray], least: list[int]) -> UserError:
    """The message where a part's share holds too few of its groups, with a number that suffices.

    sizes: of the groups of each part. least: groups that each part needs.
    """
    total = len(corpus.texts)
    enough = 0
    for of_part, groups in zip(sizes, least, strict=True):
        # Whatever the order, so many texts hold so many groups.
        texts = of_part.min() if groups == 1 else min(groups * of_part.max(), of_part.sum())
        # One text more than in proportion: the largest remainders may go to other parts.
        enough = max(enough, math.ceil((int(texts) + 1) * total / int(of_part.sum())))
    enough = min(enough, total)
    smallest, largest = min(map(min, sizes)), max(map(max, sizes))
    return UserError(
        f"corpus.max_examples={count} leaves too few {corpus.group_name} groups to train on, to "
        f"choose on and to report on: groups are never divided, and those of '{corpus.name}' have "
        f"{smallest} to {largest} texts",
        allowed=f"{enough} or more suffice",
        fix=f"corpus.max_examples={enough}",
    )
