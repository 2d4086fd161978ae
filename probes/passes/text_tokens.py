"""The tokens of some texts of a corpus, and the characters that each of them covers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from probes.core.errors import UserError
from probes.corpora.corpus import Corpus
from probes.models.handle import Handle
from probes.models.tokens import Encoding
from probes.passes.ranges import ends, ranges
from probes.passes.windows import cut_points

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int32]
LongArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TextTokens:
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
    around: tuple[IntArray, IntArray]
    """Special tokens before the first token of each text, and after its last; text by text."""
    prefix: LongArray
    """(E+1,) where the special tokens before each text begin."""
    suffix: LongArray
    """(E+1,) those after it."""
    prompted: BoolArray
    """(E,) whether the text's last special token ends a generation prompt."""

    @classmethod
    def of(cls, handle: Handle, corpus: Corpus, begin: int, end: int) -> TextTokens:
        """The tokens of texts ``begin`` to ``end`` of a corpus.

        Raises:
            UserError: for text that is not valid Unicode.
        """
        texts = corpus.texts[begin:end]
        replies = None if handle.chat is None else corpus.replies[begin:end]
        encodings = encode_texts(handle, texts, begin, replies)
        plain = ~np.fromiter(chain.from_iterable(e.special for e in encodings), dtype=bool)  # (A,)
        ids = np.fromiter(chain.from_iterable(e.ids for e in encodings), dtype=np.int32)
        bounds = chain.from_iterable(chain.from_iterable(e.offsets for e in encodings))
        span = np.fromiter(bounds, dtype=np.int64).reshape(-1, 2)[plain]  # (T, 2)
        starts = ends(np.fromiter((len(e.ids) for e in encodings), dtype=np.int64))  # (E+1,)
        before = ends(plain)
        offsets = before[starts]
        base = np.cumsum([0] + [len(text) + 1 for text in texts])[:-1]
        span += np.repeat(base, np.diff(offsets))[:, None]
        # Texts of special tokens only have no sequence, and so nothing around it.
        any_plain = np.diff(offsets) > 0  # (E,)
        of_text = np.append(np.flatnonzero(plain), 0)
        first = np.where(any_plain, of_text[np.minimum(offsets[:-1], plain.sum())], starts[:-1])
        after = np.where(any_plain, of_text[offsets[1:] - 1] + 1, starts[1:])
        prefix, suffix = first - starts[:-1], starts[1:] - after  # (E,) counts
        return cls(
            texts,
            ids[plain],
            offsets,
            span[:, 0],
            span[:, 1],
            base,
            (ids[ranges(starts[:-1], prefix)], ids[ranges(after, suffix)]),
            ends(prefix),
            ends(suffix),
            np.fromiter((e.prompted for e in encodings), dtype=bool),
        )

    def capacity(self, context: int) -> LongArray:
        """(E,) most tokens of a sequence of each text beside its special ones.

        Raises:
            UserError: special tokens leave no room.
        """
        special = np.diff(self.prefix) + np.diff(self.suffix)
        most = int(special.max(initial=0))
        if most >= context:
            raise UserError(
                f"model.max_length={context} leaves no room for text: each sequence carries "
                f"{most} special tokens",
                fix="model.max_length=null",
            )
        return context - special

    def framed(
        self, begin: LongArray, end: LongArray, owner: LongArray
    ) -> tuple[IntArray, LongArray]:
        """Slices of the tokens one after another, each between the special tokens of its text
        (``owner``); and their offsets."""
        parts = [
            (self.around[0], self.prefix[owner], np.diff(self.prefix)[owner]),
            (self.ids, begin, end - begin),
            (self.around[1], self.suffix[owner], np.diff(self.suffix)[owner]),
        ]
        offsets = ends(np.sum([count for _, _, count in parts], axis=0))
        framed = np.empty(int(offsets[-1]), dtype=np.int32)
        target = offsets[:-1]
        for tokens, start, count in parts:
            framed[ranges(target, count)] = tokens[ranges(start, count)]
            target = target + count
        return framed, offsets

    @property
    def lengths(self) -> LongArray:
        """(E,) tokens of each text, without special ones."""
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


def encode_texts(
    handle: Handle, texts: tuple[str, ...], number: int, replies: tuple[int, ...] | None
) -> list[Encoding]:
    """Encode texts of a corpus, the first of which has this number.

    Raises:
        UserError: for text that is not valid Unicode.
    """
    try:
        return handle.encode(texts, replies)
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
