"""Texts as token sequences, and the tokens in them at which a model's behaviour is scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from probes.passes.alignment import Alignment

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ScoredTexts:
    """What a measure of behaviour is taken on.

    A *read* is a token whose output is scored: the token before an answer, or a labelled unit. The
    scores of some reads make up one *part* (an answer, a sentence), and some parts one *row*: a
    text, for which there is one number.
    """

    alignment: Alignment
    """The sequences; its rows are the reads."""
    part: IntArray
    """(R,) part of each read."""
    row: IntArray
    """(P,) row of each part."""
    bad: npt.NDArray[np.bool_]
    """(P,) whether a part is what a model should find less likely than the row's other parts."""
    example: IntArray
    """(N,) text of the corpus that each row is about, ascending."""
    targets: IntArray
    """(R,) the token that comes next, or the class of the unit."""
    others: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """The tokens of the alternatives of all reads, one read after another."""
    bounds: IntArray = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    """(R+1,) where those of each read begin in ``others``."""
    notes: tuple[str, ...] = ()
    """What was left out or scored in another way, counted."""

    def __len__(self) -> int:
        return len(self.example)

    @property
    def sequence_rows(self) -> IntArray:
        """(S,) the row that each sequence belongs to."""
        rows = np.full(len(self.alignment.example), -1, dtype=np.int64)
        rows[self.alignment.sequence] = self.row[self.part]
        return rows

    def take(self, rows: npt.NDArray[np.bool_]) -> ScoredTexts:
        """Only these of the N rows, with their sequences, parts and reads.

        Rows of one sequence are taken together or not at all: those of one text are in one split.
        """
        kept = self.sequence_rows
        sequences = np.flatnonzero((kept >= 0) & rows[np.maximum(kept, 0)])
        return self._take(rows, sequences, np.isin(self.alignment.sequence, sequences))

    def take_parts(self, parts: npt.NDArray[np.bool_]) -> ScoredTexts:
        """Only these of the P parts, with the rows and whole sequences that have any of them."""
        rows = np.bincount(self.row[parts], minlength=len(self)) > 0
        reads = parts[self.part]
        return self._take(rows, np.unique(self.alignment.sequence[reads]), reads)

    def _take(
        self, rows: npt.NDArray[np.bool_], sequences: IntArray, kept: npt.NDArray[np.bool_]
    ) -> ScoredTexts:
        """rows: (N,), sequences: their numbers, kept: (R,) reads."""
        reads = np.flatnonzero(kept)
        parts = np.unique(self.part[reads])
        counts = np.diff(self.bounds)[reads] if len(self.others) else np.zeros(len(reads), int)
        starts = self.bounds[reads] if len(self.others) else np.zeros(len(reads), int)
        others = [self.others[a : a + n] for a, n in zip(starts, counts, strict=True)]
        new_row = np.cumsum(rows) - 1
        return replace(
            self,
            alignment=_only(self.alignment, sequences, reads),
            part=np.searchsorted(parts, self.part[reads]),
            row=new_row[self.row[parts]],
            bad=self.bad[parts],
            example=self.example[rows],
            targets=self.targets[reads],
            others=np.concatenate([*others, np.zeros(0, dtype=np.int64)]).astype(np.int64),
            bounds=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        )

    def read_as(self, ids: npt.NDArray[np.int32]) -> ScoredTexts:
        """The same reads in other tokens, (T,), of the same lengths: corrupted twins."""
        return replace(self, alignment=replace(self.alignment, ids=ids))


def alignment_of(
    sequences: Sequence[Sequence[int]],
    example: Sequence[int],
    reads: Sequence[tuple[int, int]],
) -> Alignment:
    """An alignment of these token sequences, whose rows are these tokens.

    example: (S,) text that each comes from. reads: (sequence, token) of each, ascending.
    """
    sequence = np.array([read[0] for read in reads], dtype=np.int32)
    token = np.array([read[1] for read in reads], dtype=np.int32)
    lengths = np.array([len(ids) for ids in sequences], dtype=np.int64)
    return Alignment(
        ids=np.concatenate([np.asarray(ids, dtype=np.int32) for ids in sequences]),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        example=np.asarray(example, dtype=np.int32),
        sequence=sequence,
        first=token,
        last=token,
        unit=np.arange(len(reads), dtype=np.int32),
        grouped=np.arange(len(reads), dtype=np.int32),
        bounds=_bounds(sequence, len(sequences)),
        counts={},
    )


def take_reads(
    alignment: Alignment, rows: IntArray, targets: IntArray, examples: npt.NDArray[np.integer]
) -> ScoredTexts:
    """Some rows of an alignment, each of which is a read, a part and a row of its own.

    rows: (R,) of the alignment, ascending. targets: (R,) the class of each. examples: (R,) its
    text; rows of one text are in sequences of that text only.
    """
    used = np.unique(np.asarray(alignment.sequence)[rows]).astype(np.int64)
    count = len(rows)
    return ScoredTexts(
        _only(alignment, used, np.asarray(rows, dtype=np.int64)),
        part=np.arange(count),
        row=np.arange(count),
        bad=np.zeros(count, dtype=bool),
        example=np.asarray(examples, dtype=np.int64),
        targets=np.asarray(targets, dtype=np.int64),
        bounds=np.zeros(count + 1, dtype=np.int64),
    )


def _only(alignment: Alignment, sequences: IntArray, reads: IntArray) -> Alignment:
    lengths = alignment.lengths[sequences]
    pieces = [
        alignment.ids[alignment.offsets[s] : alignment.offsets[s + 1]] for s in sequences.tolist()
    ]
    sequence = np.searchsorted(sequences, alignment.sequence[reads]).astype(np.int32)
    grouped = np.argsort(sequence, kind="stable").astype(np.int32)
    return replace(
        alignment,
        ids=np.concatenate([*pieces, np.zeros(0, dtype=np.int32)]),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        example=alignment.example[sequences],
        sequence=sequence,
        first=np.asarray(alignment.first)[reads],
        last=np.asarray(alignment.last)[reads],
        unit=np.asarray(alignment.unit)[reads],
        grouped=grouped,
        bounds=_bounds(sequence, len(sequences)),
    )


def _bounds(sequence: npt.NDArray[np.int32], count: int) -> IntArray:
    reads = np.bincount(sequence, minlength=count)
    return np.concatenate([[0], np.cumsum(reads)]).astype(np.int64)
