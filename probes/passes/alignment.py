"""Which tokens that a model reads make up each labelled unit of a corpus.

Every text is tokenised once, as a whole; units are matched by the overlap of character offsets,
never by tokenising words alone (a word's joined depend on what precedes it).
"""

from __future__ import annotations

import contextlib
import logging
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from probes.config import PositionConfig
from probes.config.group_checks import check_position
from probes.core.errors import UserError
from probes.core.process import return_freed_memory
from probes.corpora.corpus import Corpus
from probes.models.handle import Handle
from probes.passes.aligned_texts import AlignedTexts, align_texts
from probes.passes.disk_columns import DiskColumns
from probes.passes.ranges import ends

log = logging.getLogger(__name__)

TEXTS_AT_ONCE = 2000
"""Texts that are tokenised at a time: the tokenizer's own objects are large."""

IntArray = npt.NDArray[np.int32]
LongArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Alignment:
    """Sequences of token ids, and for each row of a cache the tokens that it is read from.

    Arrays with a number for each row or token are read-only maps of files.
    """

    ids: IntArray
    """(T,) all sequences one after another, each with the model's special tokens."""
    offsets: LongArray
    """(S+1,) where each sequence begins in ``ids``."""
    example: IntArray
    """(S,) the text that each sequence comes from; long texts have several sequences."""
    sequence: IntArray
    """(N,) the sequence that each row is read in."""
    first: IntArray
    """(N,) first token read, counted in its sequence with special tokens."""
    last: IntArray
    """(N,) last token read, inclusive; the row is the mean of ``first..last``."""
    unit: IntArray
    """(N,) unit of the corpus, ascending; repeated where each of its tokens is a row."""
    grouped: IntArray
    """(N,) the rows in the order of their sequences."""
    bounds: LongArray
    """(S+1,) where the rows of each sequence begin in ``grouped``."""
    counts: dict[str, int]
    """``units`` and ``dropped_units`` (no token overlaps them, or they cross a window),
    ``split_texts`` (cut into windows), ``truncated_texts`` (read at their end only),
    ``unread_texts`` (too long or empty: their sentence or answer labels have no row); ``words``
    (words and spans that have tokens), ``split_words`` (of several tokens) and ``word_tokens``; and
    where there are any ``empty_texts``, those of them that have no token."""
    release: Callable[[], None] = field(default=lambda: None, repr=False, compare=False)
    """Give back the memory of what was read of the arrays on disk; it is read again if needed."""

    @property
    def lengths(self) -> LongArray:
        """(S,) tokens of each sequence."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.unit)


def align(
    corpus: Corpus,
    handle: Handle,
    position: PositionConfig | None = None,
    *,
    truncate: bool = False,
    whole_texts: bool = True,
    directory: Path | None = None,
) -> Alignment:
    """Match the units of ``corpus`` with the tokens that the model of ``handle`` reads.

    A word or span is read at its last sub-token by default: in a causal model the first one has
    not seen the whole word; with ``every_subword`` each of its tokens is a row. A sentence or an
    answer is read at its last token that is not special. Units that no token overlaps (the
    tokenizer drops control characters, for example) are left out and counted, and so are whole
    texts without a token (zero-width characters, for example).

    Texts longer than the context are cut into windows at word boundaries for words and spans; a
    unit that no window can hold is dropped and counted. For sentences and answers such texts are
    refused, or, with ``truncate``, only their end is read, so that the last token stays. Without
    ``whole_texts`` (no sentence or answer label is wanted) those of such texts are left out and
    counted.

    directory: for the index of tokens and rows, about 24 bytes a row, in anonymous files that end
    with the process. None: the system's directory for temporary files.

    Raises:
        UserError: for long texts as above, for invalid Unicode, for a slow tokenizer, for a context
            that special tokens fill, and when no unit is left.
    """
    position = position or PositionConfig()
    check_position(position)
    handle.require_words(corpus.texts)
    _disable_word_cache(handle)
    joined = _Joined(directory)
    with contextlib.closing(joined.columns):
        for begin in range(0, len(corpus.texts), TEXTS_AT_ONCE):
            joined.add(
                align_texts(
                    corpus,
                    begin,
                    min(begin + TEXTS_AT_ONCE, len(corpus.texts)),
                    handle,
                    position,
                    truncate=truncate,
                )
            )
            return_freed_memory()
        if whole_texts:
            _check_texts(joined, corpus, handle, truncate)
        if not joined.rows:
            raise UserError(
                f"corpus '{corpus.name}': the tokenizer leaves no token for any of its "
                f"{len(corpus.units)} units"
            )
        return joined.finish(len(corpus.units), truncate)


def _check_texts(joined: _Joined, corpus: Corpus, handle: Handle, truncate: bool) -> None:
    """Refuse texts too long for their sentence or answer labels, and name those without tokens."""
    too_long, empty = joined.too_long, joined.empty
    longest, special = joined.longest
    if too_long and not truncate:
        raise UserError(
            f"{len(too_long)} of {len(corpus.texts)} texts exceed the model's context of "
            f"{handle.context} (the longest has {longest} tokens and {special} special "
            f"ones; the first is text {too_long[0]}, counted from 0), and their sentence or answer "
            "labels belong to the whole text",
            fix="truncate=true to read only their end, or shorter texts where the corpus can make "
            "them (needle: corpus.options.lengths=[60])",
        )
    if empty:
        log.warning(
            "%d of %d texts are empty to the tokenizer and left out (the first is text %d, counted "
            "from 0)",
            len(empty),
            len(corpus.texts),
            empty[0],
        )


def _disable_word_cache(handle: Handle) -> None:
    """Switch off a tokenizer's cache of words where a "word" is a whole text (Llama's): no text
    comes twice, and the cache would grow to hundreds of megabytes."""
    backend = handle.tokenizer.backend_tokenizer
    if backend.pre_tokenizer is None and hasattr(backend.model, "_resize_cache"):
        backend.model._resize_cache(0)


class _Joined:
    """Aligned texts joined one after another: by row and token on disk, by text in memory."""

    def __init__(self, directory: Path | None) -> None:
        names = ("ids", "unit", "sequence", "first", "last", "grouped")
        self.columns = DiskColumns(directory, names)
        # In place: a list of arrays would leave holes in memory.
        self.example, self.length, self.read = array("i"), array("i"), array("i")
        self.too_long, self.empty = array("i"), array("i")
        self.rows = self.units = self.split_texts = 0
        self.longest = (0, 0)
        self.words = (0, 0, 0)

    def add(self, texts: AlignedTexts) -> None:
        unit, sequence, first, last = texts.rows
        count = len(texts.example)
        order = np.argsort(sequence, kind="stable")
        for name, values in (
            ("ids", texts.ids),
            ("unit", unit),
            ("sequence", sequence + len(self.example)),
            ("first", first),
            ("last", last),
            ("grouped", order + self.rows),
        ):
            self.columns.append(name, values)
        for column, values in (
            (self.example, texts.example),
            (self.length, np.diff(texts.offsets)),
            (self.read, np.bincount(sequence, minlength=count)),
            (self.too_long, texts.too_long),
            (self.empty, texts.empty),
        ):
            column.frombytes(values.astype(np.int32).tobytes())
        self.rows += len(unit)
        self.units += len(np.unique(unit))  # all rows of a unit are in the same texts
        self.longest = max(self.longest, texts.longest)
        self.split_texts += texts.split_texts
        words, split, tokens = self.words
        self.words = (words + texts.words[0], split + texts.words[1], tokens + texts.words[2])

    def finish(self, n_units: int, truncate: bool) -> Alignment:
        cut = len(self.too_long)
        return Alignment(
            **self.columns.finish(),
            offsets=ends(np.frombuffer(self.length, dtype=np.int32)),
            example=np.frombuffer(self.example, dtype=np.int32),
            bounds=ends(np.frombuffer(self.read, dtype=np.int32)),
            counts={
                "units": n_units,
                "dropped_units": n_units - self.units,
                "split_texts": self.split_texts,
                "truncated_texts": cut if truncate else 0,
                "unread_texts": len(self.empty) + (0 if truncate else cut),
                **dict(zip(("words", "split_words", "word_tokens"), self.words, strict=True)),
                **({"empty_texts": len(self.empty)} if self.empty else {}),
            },
            release=self.columns.release,
        )
