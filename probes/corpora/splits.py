"""Who is trained on, chosen on and reported on: always by group, never by row.

Rows of one document, question or sentence resemble each other. A split between them lets a probe
remember instead of generalise, and so do texts that recur in two shipped splits, in other case or
spacing too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from probes.config import SplitConfig
from probes.config.choices import choices_of
from probes.config.group_checks import check_split
from probes.core.errors import UserError
from probes.corpora.corpus import (
    DROPPED,
    SPLITS,
    TEST,
    TRAIN,
    UNASSIGNED,
    VALIDATION,
    Corpus,
)


def assign_splits(corpus: Corpus, config: SplitConfig) -> Corpus:
    """Put every example of a corpus into train, validation or test, or drop it.

    ``auto`` keeps what the source ships and draws missing parts from train's groups, ``shipped``
    insists on all three parts, ``group`` draws everything anew. Afterwards no text and no group
    is on two sides: validation and test examples that recur in train are ``DROPPED``, and so are
    validation examples that recur in test. Dropped examples stay in the corpus, so that
    activations extracted once serve every split; ``notes`` count them.

    Raises:
        UserError: an unknown source, a missing part, shares out of range, too few groups, or a
            part of which nothing is left.
    """
    check_split(config)
    splits = corpus.splits.copy()  # (E,)
    groups = corpus.group_codes  # (E,)
    notes: list[str] = []

    if config.source == "group":
        splits[:] = TRAIN
    splits[splits == UNASSIGNED] = TRAIN
    missing = [part for part in (VALIDATION, TEST) if not (splits == part).any()]
    if not (splits == TRAIN).any():
        raise UserError(
            f"corpus '{corpus.name}' has no training examples: it ships only "
            + " and ".join(SPLITS[part] for part in sorted(set(splits.tolist()))),
            fix="split.source=group",
        )
    if missing and config.source == "shipped":
        raise UserError(
            f"split.source=shipped: corpus '{corpus.name}' ships no "
            + " and no ".join(SPLITS[part] for part in missing)
            + " split",
            allowed=", ".join(choices_of(SplitConfig, "source")),
            fix="split.source=auto",
        )
    if missing:
        shares = {VALIDATION: config.validation, TEST: config.test}
        _draw(corpus, splits, groups, {part: shares[part] for part in missing}, config.seed)
        drawn = " and ".join(SPLITS[part] for part in missing)
        notes.append(f"{drawn} drawn by {corpus.group_name} from train (seed {config.seed})")

    notes += _drop_recurring(splits, corpus.text_codes, "texts", exact=corpus.texts)
    notes += _drop_recurring(splits, groups, f"{corpus.group_name} groups")
    for part in (TRAIN, VALIDATION, TEST):
        if not (splits == part).any():
            raise UserError(
                f"corpus '{corpus.name}': nothing is left in {SPLITS[part]}; {'; '.join(notes)}",
                fix="split.source=group",
            )
    return replace(corpus, splits=splits, notes=corpus.notes + tuple(notes))


def group_folds(groups: npt.NDArray[np.integer], k: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """Number of the fold of each row, 0 to ``k - 1``; a group is never in two folds.

    groups: (n,) group code of each row. Groups go, largest first and in random order among
    equals, to the fold with the fewest rows so far, so folds differ by at most one group's rows.

    Raises:
        UserError: there are fewer groups than folds.
    """
    _, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if k < 2 or len(sizes) < k:
        raise UserError(
            f"split.folds={k}: there are {len(sizes)} groups, and a group is never divided",
            allowed=f"2 to {len(sizes)} folds" if len(sizes) > 1 else "0 (no folds)",
            fix=f"split.folds={min(max(k, 2), len(sizes)) if len(sizes) > 1 else 0}",
        )
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold_of_group = np.empty(len(sizes), dtype=np.int64)
    rows_in_fold = [0] * k
    for group in order.tolist():
        fold = rows_in_fold.index(min(rows_in_fold))
        fold_of_group[group] = fold
        rows_in_fold[fold] += int(sizes[group])
    return fold_of_group[inverse]  # (n,)


def _draw(
    corpus: Corpus,
    splits: npt.NDArray[np.int8],
    groups: npt.NDArray[np.int32],
    shares: dict[int, float],
    seed: int,
) -> None:
    """Move random groups of train to the missing parts, at least one group to each."""
    pool = np.unique(groups[splits == TRAIN])
    if len(pool) < len(shares) + 1:
        raise UserError(
            f"corpus '{corpus.name}' has {len(pool)} {corpus.group_name} group(s) to split into "
            f"train, {' and '.join(SPLITS[part] for part in shares)}; a group is never divided",
            allowed=f"at least {len(shares) + 1} groups",
            fix="a corpus with more groups, or another corpus.group column where it has one",
        )
    pool = np.random.default_rng(seed).permutation(pool)
    spare = len(pool) - 1  # train keeps at least one
    for left, (part, share) in zip(range(len(shares), 0, -1), shares.items(), strict=True):
        take = min(max(1, round(share * len(pool))), spare - (left - 1))
        taken = pool[spare - take + 1 : spare + 1]
        splits[np.isin(groups, taken) & (splits == TRAIN)] = part
        spare -= take


def _drop_recurring(
    splits: npt.NDArray[np.int8],
    codes: npt.NDArray[np.int32],
    what: str,
    *,
    exact: Sequence[str] = (),
) -> list[str]:
    """Drop validation and test examples whose code occurs in train, validation ones in test.

    exact: what the codes stand for; the notes then tell how many differ in case or spacing.
    """
    notes = []
    for part, other in ((VALIDATION, TRAIN), (TEST, TRAIN), (VALIDATION, TEST)):
        recurring = (splits == part) & np.isin(codes, codes[splits == other])
        if recurring.any():
            there = {exact[i] for i in np.flatnonzero(splits == other).tolist() if exact}
            differ = sum(exact[i] not in there for i in np.flatnonzero(recurring).tolist() if exact)
            splits[recurring] = DROPPED
            notes.append(
                f"{int(recurring.sum())} {SPLITS[part]} examples dropped: "
                f"their {what} recur in {SPLITS[other]}"
                + (f" ({differ} of them in other case or spacing)" if differ else "")
            )
    return notes
