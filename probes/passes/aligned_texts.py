"""Tokenise a part of the corpus and map its labelled units to rows of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from probes.config import PositionConfig
from probes.core.errors import UserError
from probes.corpora.corpus import LEVELS, TEXT_LEVELS, Corpus
from probes.models.handle import Handle
from probes.models.tokens import Encoding
from probes.passes.windows import cut_points

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
    longest: int
    """Tokens of the longest of ``too_long``."""
    split_texts: int
    """Texts cut into windows."""


def align_texts(
    corpus: Corpus,
    begin: int,
    end: int,
    handle: Handle,
    position: PositionConfig,
    *,
    capacity: int,
    frame: tuple[tuple[int, ...], tuple[int, ...]],
    truncate: bool,
) -> AlignedTexts:
    """Align texts ``begin`` to ``end`` of the corpus.

    capacity: tokens of a sequence without special ones. frame: the special tokens before and after
    each sequence. truncate: read the end of texts beyond the capacity where the whole text is
    labelled.

    Raises:
        UserError: for text that is not valid Unicode.
    """
    tokens = _Tokens.of(handle, corpus.texts[begin:end], begin)
    low, high = np.searchsorted(corpus.units.example, [begin, end])
    units = corpus.units
    text = units.example[low:high].astype(np.int64) - begin  # (U,)
    of_text = np.isin(units.level[low:high], [LEVELS.index(level) for level in TEXT_LEVELS])
    overlapped, first, last = tokens.match(text, units.start[low:high], units.end[low:high])

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
    keep &= (seq_end - seq_begin <= capacity)[sequence] & (truncate | ~cut)
    first, last = _read_at(position, of_text, first, last)

    used, sequence = np.unique(sequence[keep], return_inverse=True)
    ids, offsets = _framed(tokens.ids, seq_begin[used], seq_end[used], *frame)
    into = len(frame[0]) - seq_begin[used][sequence]  # from these texts' tokens to the sequence's
    rows = (np.arange(low, high)[keep], sequence, first[keep] + into, last[keep] + into)
    if position.word == "every_subword":
        rows = _each_token(rows, of_text[keep])
    return AlignedTexts(
        ids=ids,
        offsets=offsets,
        example=seq_text[used] + begin,
        rows=tuple(column.astype(np.int32) for column in rows),  # type: ignore[arg-type]
        too_long=too_long + begin,
        empty=empty + begin,
        longest=int(tokens.lengths[too_long].max(initial=0)),
        split_texts=len(windowed),
    )


@dataclass(frozen=True)
class _Tokens:
    """The tokens of some texts one after another, without special tokens."""

    texts: tuple[str, ...]
    ids: IntArray
    """(T,)."""
    offsets: LongArray
    """(E+1,) where the tokens of each text begin."""
    start: LongArray
    """(T,) first character; all texts share one axis of characters, with a gap between texts."""
    end: LongArray
    """(T,) one past the last character."""
    base: LongArray
    """(E,) where each text begins on that axis."""

    @classmethod
    def of(cls, handle: Handle, texts: tuple[str, ...], number: int) -> _Tokens:
        encodings = encode_texts(handle, texts, number)
        plain = ~np.fromiter(chain.from_iterable(e.special for e in encodings), dtype=bool)
        ids = np.fromiter(chain.from_iterable(e.ids for e in encodings), dtype=np.int32)
        bounds = chain.from_iterable(chain.from_iterable(e.offsets for e in encodings))
        span = np.fromiter(bounds, dtype=np.int64).reshape(-1, 2)[plain]  # (T, 2)
        counts = np.fromiter((len(e.ids) for e in encodings), dtype=np.int64)
        before = np.concatenate([[0], np.cumsum(plain)])
        offsets = before[np.concatenate([[0], np.cumsum(counts)])]
        base = np.cumsum([0] + [len(text) + 1 for text in texts])[:-1]
        span += np.repeat(base, np.diff(offsets))[:, None]
        return cls(texts, ids[plain], offsets, span[:, 0], span[:, 1], base)

    @property
    def lengths(self) -> LongArray:
        return np.diff(self.offsets)

    def match(
        self, text: LongArray, start: IntArray, end: IntArray
    ) -> tuple[BoolArray, LongArray, LongArray]:
        """Whether any token overlaps each unit, and the first and the last that do."""
        solid = np.flatnonzero(self.end > self.start)  # markers of width 0 hold no text
        if not len(solid):
            nothing = np.zeros(len(text), dtype=np.int64)
            return nothing > 0, nothing, nothing
        # Normalisers may reorder a few characters; searching needs ascending bounds.
        token_end = np.maximum.accumulate(self.end[solid])
        token_start = np.minimum.accumulate(self.start[solid][::-1])[::-1]
        first = np.searchsorted(token_end, start + self.base[text], side="right")
        last = np.searchsorted(token_start, end + self.base[text], side="left") - 1
        overlapped = (first <= last) & (start < end)
        return overlapped, solid[np.minimum(first, len(solid) - 1)], solid[np.maximum(last, 0)]

    def cuts(self, k: int, first: LongArray, last: LongArray, capacity: int) -> list[int]:
        """Borders of the windows of text ``k``, whose units span the tokens first to last."""
        begin, end = int(self.offsets[k]), int(self.offsets[k + 1])
        start, stop = self.start[begin:end] - self.base[k], self.end[begin:end] - self.base[k]
        borders = cut_points(self.texts[k], start, stop, first - begin, last - begin, capacity)
        return [begin + border for border in borders]


def _sequences(
    tokens: _Tokens,
    windowed: LongArray,
    ended: LongArray,
    capacity: int,
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
        borders[int(k)] = tokens.cuts(int(k), first[mine], last[mine], capacity)
    begin = [border for cuts in borders.values() for border in cuts[:-1]]
    end = [border for cuts in borders.values() for border in cuts[1:]]
    owner = [k for k, cuts in borders.items() for _ in cuts[:-1]]
    ends = tokens.offsets[ended + 1]
    return (
        np.concatenate([begin, ends - capacity]).astype(np.int64),
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
    inside = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    begin = np.repeat(first, count) + inside
    end = np.where(np.repeat(of_text, count), np.repeat(last, count), begin)
    return np.repeat(unit, count), np.repeat(sequence, count), begin, end


def _framed(
    ids: IntArray,
    begin: LongArray,
    end: LongArray,
    prefix: tuple[int, ...],
    suffix: tuple[int, ...],
) -> tuple[IntArray, LongArray]:
    """The slices of ``ids`` one after another, each between special tokens; and their offsets."""
    length = end - begin
    offsets = np.concatenate([[0], np.cumsum(length + len(prefix) + len(suffix))])
    framed = np.empty(int(offsets[-1]), dtype=np.int32)
    for index, token in enumerate(prefix):
        framed[offsets[:-1] + index] = token
    for index, token in enumerate(suffix):
        framed[offsets[1:] - len(suffix) + index] = token
    inside = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    target = np.repeat(offsets[:-1] + len(prefix), length) + inside
    framed[target] = ids[np.repeat(begin, length) + inside]
    return framed, offsets


def encode_texts(handle: Handle, texts: tuple[str, ...], number: int) -> list[Encoding]:
    """Encode texts of a corpus, the first of which has this number.

    Raises:
        UserError: for text that is not valid Unicode.
    """
    try:
        return handle.encode(texts)
    except (UnicodeEncodeError, TypeError):
        for index, text in enumerate(texts):
            try:
                text.encode("utf-8")
            except UnicodeEncodeError as error:
                raise UserError(
                    f"text {number + index} (counted from 0) is not valid Unicode: {error}",
                    fix="replacing that character; CorpusBuilder does so, and counts it",
                ) from error
        raise
