"""Tokenise a part of the corpus and map its labelled units to rows of tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probes.config import PositionConfig
from probes.corpora.corpus import LEVELS, TEXT_LEVELS, Corpus
from probes.models.handle import Handle
from probes.passes.ranges import ranges
from probes.passes.text_tokens import TextTokens

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int32]
LongArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class AlignedTexts:
    """The sequences of some texts, and what is read in them; numbers count within these texts."""

    ids: IntArray
    """(T,) tokens of all sequences, with special tokens."""
    offsets: LongArray
    """(S+1,)."""
    example: LongArray
    """(S,) text of the corpus."""
    rows: tuple[IntArray, IntArray, IntArray, IntArray]
    """Unit of the corpus, sequence, first and last token in it; (N,) each."""
    too_long: LongArray
    """Texts of the corpus beyond the context that carry labels of whole texts."""
    empty: LongArray
    """Texts of the corpus without tokens that carry labels of whole texts."""
    longest: tuple[int, int]
    """Tokens of the longest of ``too_long``, and the special ones around it."""
    split_texts: int
    """Texts cut into windows."""
    words: tuple[int, int, int]
    """Words and spans that have tokens, those of several tokens, and the tokens of all."""


def align_texts(
    corpus: Corpus,
    begin: int,
    end: int,
    handle: Handle,
    position: PositionConfig,
    *,
    truncate: bool,
) -> AlignedTexts:
    """Align texts ``begin`` to ``end`` of the corpus.

    truncate: read the end of texts beyond the context where the whole text is labelled.

    Raises:
        UserError: for text that is not valid Unicode, and for a context that special tokens fill.
    """
    tokens = TextTokens.of(handle, corpus, begin, end)
    capacity = tokens.capacity(handle.context)  # (E,)
    low, high = np.searchsorted(corpus.units.example, [begin, end])
    units = corpus.units
    text = units.example[low:high].astype(np.int64) - begin  # (U,)
    of_text = np.isin(units.level[low:high], [LEVELS.index(level) for level in TEXT_LEVELS])
    overlapped, first, last = tokens.match(text, units.start[low:high], units.end[low:high])
    of_word = (last - first + 1)[overlapped & ~of_text]  # tokens of each word and span

    long = tokens.lengths > capacity
    labelled = np.unique(text[of_text])
    too_long, empty = labelled[long[labelled]], labelled[tokens.lengths[labelled] == 0]
    windowed = np.intersect1d(text[~of_text], np.flatnonzero(long))
    ended = too_long if truncate else too_long[:0]  # texts read at their end only
    seq_begin, seq_end, seq_text, n_windows = _sequences(
        tokens, windowed, ended, capacity, (text, overlapped & ~of_text, first, last)
    )

    # Words go to the window that holds their last token, long texts to a sequence of their end.
    sequence = np.maximum(np.searchsorted(seq_begin[:n_windows], last, side="right") - 1, 0)
    cut = of_text & long[text]
    sequence[cut] = n_windows + np.searchsorted(ended, text[cut]) if truncate else 0
    first = np.where(cut, np.maximum(first, seq_begin[sequence]), first)
    # A unit that reaches over the border of its window is longer than the context.
    keep = overlapped & (first >= seq_begin[sequence]) & (last < seq_end[sequence])
    keep &= (seq_end - seq_begin <= capacity[seq_text])[sequence] & (truncate | ~cut)
    first, last = _read_at(position, of_text, first, last)

    used, sequence = np.unique(sequence[keep], return_inverse=True)
    owner = seq_text[used]
    ids, offsets = tokens.framed(seq_begin[used], seq_end[used], owner)
    # From these texts' tokens to the sequence's.
    into = (np.diff(tokens.prefix)[owner] - seq_begin[used])[sequence]
    first, last = first[keep] + into, last[keep] + into
    if position.text == "last_token":
        prompted = of_text[keep] & tokens.prompted[text[keep]]
        last = np.where(prompted, np.diff(offsets)[sequence] - 1, last)
        first = np.where(prompted, last, first)
    rows = (np.arange(low, high)[keep], sequence, first, last)
    if position.word == "every_subword":
        rows = _each_token(rows, of_text[keep])
    return AlignedTexts(
        ids=ids,
        offsets=offsets,
        example=owner + begin,
        rows=tuple(column.astype(np.int32) for column in rows),  # type: ignore[arg-type]
        too_long=too_long + begin,
        empty=empty + begin,
        longest=max(
            ((int(tokens.lengths[k]), handle.context - int(capacity[k])) for k in too_long),
            default=(0, 0),
        ),
        split_texts=len(windowed),
        words=(len(of_word), int((of_word > 1).sum()), int(of_word.sum())),
    )


def _sequences(
    tokens: TextTokens,
    windowed: LongArray,
    ended: LongArray,
    capacity: LongArray,
    units: tuple[LongArray, BoolArray, LongArray, LongArray],
) -> tuple[LongArray, LongArray, LongArray, int]:
    """All sequences as slices of the tokens: begin, end and text of each, and how many of them are
    not ends.

    First come whole texts and the windows of ``windowed`` texts, ascending, then the ends of
    ``ended`` texts.
    """
    text, is_word, first, last = units
    borders = {
        k: [int(tokens.offsets[k]), int(tokens.offsets[k + 1])] for k in range(len(tokens.texts))
    }
    for k in windowed:
        mine = (text == k) & is_word
        borders[int(k)] = tokens.cuts(int(k), first[mine], last[mine], int(capacity[k]))
    begin = [border for cuts in borders.values() for border in cuts[:-1]]
    end = [border for cuts in borders.values() for border in cuts[1:]]
    owner = [k for k, cuts in borders.items() for _ in cuts[:-1]]
    ends = tokens.offsets[ended + 1]
    return (
        np.concatenate([begin, ends - capacity[ended]]).astype(np.int64),
        np.concatenate([end, ends]).astype(np.int64),
        np.concatenate([owner, ended]).astype(np.int64),
        len(begin),
    )


def _read_at(
    position: PositionConfig, of_text: BoolArray, first: LongArray, last: LongArray
) -> tuple[LongArray, LongArray]:
    """The tokens read of those that a unit spans."""
    last_only = np.where(of_text, position.text == "last_token", position.word == "last_subword")
    first_only = ~of_text & (position.word == "first_subword")
    return np.where(last_only, last, first), np.where(first_only, first, last)


def _each_token(
    rows: tuple[LongArray, LongArray, LongArray, LongArray], of_text: BoolArray
) -> tuple[LongArray, LongArray, LongArray, LongArray]:
    """The rows with those of words and spans repeated for each of their tokens."""
    unit, sequence, first, last = rows
    count = np.where(of_text, 1, last - first + 1)
    begin = ranges(first, count)
    end = np.where(np.repeat(of_text, count), np.repeat(last, count), begin)
    return np.repeat(unit, count), np.repeat(sequence, count), begin, end
