"""One feature's labels on the rows of an activation cache: what a probe is trained to decode."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from probes.core.errors import UserError
from probes.corpora.corpus import LEVELS, SPLITS, TEST, TRAIN, VALIDATION, Corpus, Level
from probes.corpora.pieces import piece_codes


@dataclass(frozen=True)
class Task:
    """Labels, splits and groups of the rows on which one feature has a value."""

    feature: str
    level: Level
    classes: tuple[str, ...]
    """(C,) names of the classes kept."""
    rows: npt.NDArray[np.int64]
    """(n,) rows of the cache, ascending; rows without a value or of a dropped class are absent."""
    labels: npt.NDArray[np.int64]
    """(n,) index into ``classes``."""
    split: npt.NDArray[np.int8]
    """(n,) ``TRAIN``, ``VALIDATION`` or ``TEST``."""
    groups: npt.NDArray[np.int32]
    """(n,) group code; the same code means the same group in every task of the corpus."""
    types: npt.NDArray[np.int32]
    """(n,) code of the unit's case-folded text: the word type of control tasks and baselines."""
    examples: npt.NDArray[np.int32]
    """(n,) index of the text of the corpus that the row comes from."""
    texts: npt.NDArray[np.int32]
    """(n,) code of that text: examples that repeat a text share it, so folds can avoid them."""
    dropped: dict[str, int]
    """Class left out for having too few training units -> its units in all splits."""
    dropped_in_train: dict[str, int] = field(default_factory=dict)
    """The same classes -> their training units, by which they were left out."""

    def counts(self, split: int) -> npt.NDArray[np.int64]:
        """(C,) units of each class in one split."""
        return np.bincount(self.labels[self.split == split], minlength=len(self.classes))

    @property
    def majority(self) -> tuple[int, float]:
        """The most frequent class of train, and the accuracy on test of always answering it."""
        best = int(self.counts(TRAIN).argmax())
        return best, float((self.labels[self.split == TEST] == best).mean())

    def summary(self) -> str:
        """Rows, classes, majority baseline and what was dropped, in one line for the log."""
        best, accuracy = self.majority
        parts = ", ".join(
            f"{int((self.split == part).sum()):,} {SPLITS[part]}"
            for part in (TRAIN, VALIDATION, TEST)
        )
        line = (
            f"{self.feature}: {len(self.classes)} classes, rows {parts}; "
            f"majority '{self.classes[best]}' {accuracy:.3f} on test"
        )
        if self.dropped:
            in_train = self.dropped_in_train or self.dropped
            common = sorted(in_train.items(), key=lambda item: -item[1])
            names = ", ".join(f"{name} ({count})" for name, count in common[:8])
            more = f", ... ({len(common) - 8} more)" if len(common) > 8 else ""
            line += f"; {len(common)} classes dropped as too rare in train: {names}{more}"
        return line


def make_task(
    corpus: Corpus, feature: str, units: npt.NDArray[np.integer], *, min_count: int
) -> Task:
    """Labels of one feature for the rows of a cache.

    corpus: with every example in a split (``assign_splits``); examples dropped there give no row.
    units: (N,) unit of the corpus that each row of the cache holds; a unit of which every token
        is read has as many rows, one after another.
    min_count: classes with fewer units in train are left out of all splits and reported in
    ``dropped``, which covers classes that occur in test but never in train.

    Raises:
        UserError: an unknown feature, a split without rows, or fewer than two classes.
    """
    definition = corpus.feature(feature)
    units = np.asarray(units, dtype=np.int64)
    codes = (
        piece_codes(definition, units) if definition.of_rows else definition.codes[units]
    )  # (N,)
    examples = corpus.units.example[units]  # (N,)
    split = corpus.splits[examples]  # (N,)
    usable = (codes >= 0) & (split >= 0)
    if not usable.any():
        raise UserError(
            f"features=[{feature}]: no row has a value of '{feature}'; it belongs to "
            f"{definition.level} units, and the rows hold "
            + ", ".join(LEVELS[level] for level in np.unique(corpus.units.level[units])),
            fix=_other_feature(corpus, feature),
        )

    in_train = np.bincount(codes[usable & (split == TRAIN)], minlength=len(definition.classes))
    in_all = np.bincount(codes[usable], minlength=len(definition.classes))  # (C,)
    kept = in_train >= max(min_count, 1)  # (C,)
    left_out = np.flatnonzero(~kept & (in_all > 0))
    dropped = {definition.classes[code]: int(in_all[code]) for code in left_out}
    _check_classes(corpus, feature, kept.sum(), dropped, in_train, min_count)

    new_code = np.cumsum(kept) - 1  # (C,) class -> class among the kept
    rows = np.flatnonzero(usable & kept[np.maximum(codes, 0)])  # (n,)
    split = split[rows]
    for part in (VALIDATION, TEST):
        if not (split == part).any():
            raise UserError(
                f"features=[{feature}]: no {SPLITS[part]} row has a value of '{feature}' "
                f"({len(rows)} rows in all)",
                fix="split.source=group",
            )
    return Task(
        feature=feature,
        level=definition.level,
        classes=tuple(name for name, keep in zip(definition.classes, kept, strict=True) if keep),
        rows=rows,
        labels=new_code[codes[rows]].astype(np.int64),
        split=split,
        groups=corpus.group_codes[examples[rows]],
        types=corpus.type_codes[units[rows]],
        examples=examples[rows],
        texts=corpus.text_codes[examples[rows]],
        dropped=dropped,
        dropped_in_train={definition.classes[code]: int(in_train[code]) for code in left_out},
    )


def _check_classes(
    corpus: Corpus,
    feature: str,
    kept: int,
    dropped: dict[str, int],
    in_train: npt.NDArray[np.int64],
    min_count: int,
) -> None:
    """Raise unless at least two classes can be told apart."""
    if kept >= 2:
        return
    names = corpus.feature(feature).classes
    present = [f"'{name}' {count}" for name, count in zip(names, in_train, strict=True) if count]
    counts = ", ".join(present[:8]) or "none"
    enough = int((in_train > 0).sum()) >= 2
    raise UserError(
        f"features=[{feature}]: {kept} of {len(names)} classes has {min_count} or more training "
        f"units (min_count={min_count}; in train: {counts}"
        + (f"; dropped: {', '.join(list(dropped)[:8])}" if dropped else "")
        + ")",
        allowed="at least two classes to tell apart",
        fix=f"min_count={max(1, int(np.sort(in_train)[-2]))}"
        if enough
        else _other_feature(corpus, feature),
    )


def _other_feature(corpus: Corpus, feature: str) -> str:
    others = [name for name in (*corpus.default_features, *corpus.features) if name != feature]
    return f"features=[{others[0]}]" if others else "another corpus"
