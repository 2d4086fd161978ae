"""Where each labelled unit of a corpus lies in the tokens that a model reads.

Every text is tokenised once, as a whole; units are matched by the overlap of character offsets,
never by tokenising words alone (a word's pieces depend on what precedes it).
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probes.activations.heap import give_back_heap
from probes.activations.slab import Slab, make_slab
from probes.config import PositionConfig
from probes.corpora.corpus import Corpus
from probes.errors import UserError
from probes.models.loading import Handle

SLAB = 2000  # texts tokenised at a time: the tokenizer's own objects are large

IntArray = npt.NDArray[np.int32]
LongArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Alignment:
    """Sequences of token ids, and for each row of a cache the tokens that it is read from."""

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
    counts: dict[str, int]
    """``units`` and ``dropped_units`` (no token overlaps them, or they cross a window),
    ``split_texts`` (cut into windows), ``truncated_texts`` (read at their end only),
    ``unread_texts`` (too long or empty: their sentence or answer labels have no row)."""

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
) -> Alignment:
    """Match the units of ``corpus`` with the tokens that the model of ``handle`` reads.

    A word or span is read at its last sub-token by default: in a causal model the first one has
    not seen the whole word; with ``every_subword`` each of its tokens is a row. A sentence or an
    answer is read at its last token that is not special. Units that no token overlaps (the
    tokenizer drops control characters, for example) are left out and counted.

    Texts longer than the context are cut into windows at word boundaries for words and spans; a
    unit that no window can hold is dropped and counted. For sentences and answers such texts are
    refused, or, with ``truncate``, only their end is read, so that the last token stays. Where
    nobody asks for labels of ``whole_texts``, those of such texts are left out and counted.

    Raises ``UserError`` for long texts as said, for texts of zero tokens that carry a sentence or
    answer label, for invalid Unicode, for a slow tokenizer, for a context that special tokens
    fill, and when no unit is left.
    """
    position = position or PositionConfig()
    _check(position)
    handle.require_words(corpus.texts)
    probe = handle.encode(["a"])[0]
    inside = probe.special.index(False)
    prefix = tuple(probe.ids[:inside])
    suffix = tuple(probe.ids[len(probe.ids) - probe.special[::-1].index(False) :])
    special = len(prefix) + len(suffix)
    capacity = handle.context - special
    if capacity < 1:
        raise UserError(
            f"model.max_length={handle.context} leaves no room for text: each sequence carries "
            f"{special} special tokens",
            fix="model.max_length=null",
        )
    _forget_texts(handle)
    pieces = _Pieces()
    for begin in range(0, len(corpus.texts), SLAB):
        pieces.add(
            make_slab(
                corpus,
                begin,
                min(begin + SLAB, len(corpus.texts)),
                handle,
                position,
                capacity=capacity,
                frame=(prefix, suffix),
                truncate=truncate,
            )
        )
        give_back_heap()
    too_long, empty = pieces.columns["too_long"], pieces.columns["empty"]
    if whole_texts and too_long and not truncate:
        raise UserError(
            f"{len(too_long)} of {len(corpus.texts)} texts exceed the model's context of "
            f"{handle.context} (the longest has {pieces.longest} tokens and {special} special "
            f"ones; the first is text {too_long[0]}, counted from 0), and their sentence or answer "
            "labels belong to the whole text",
            fix="truncate=true to read only their end, or shorter texts where the corpus can make "
            "them (needle: corpus.options.lengths=[60])",
        )
    if whole_texts and empty:
        raise UserError(
            f"{len(empty)} of {len(corpus.texts)} texts are empty to the tokenizer (the first is "
            f"text {empty[0]}, counted from 0), so there is nothing to read their labels at",
            fix="leaving these texts out of the corpus",
        )
    if not pieces.columns["unit"]:
        raise UserError(
            f"corpus '{corpus.name}': the tokenizer leaves no token for any of its "
            f"{len(corpus.units)} units"
        )
    return pieces.joined(len(corpus.units), truncate)


def _distinct(ascending: IntArray) -> int:
    """How many values there are; at least one."""
    return 1 + int(np.count_nonzero(np.diff(ascending)))


def _check(position: PositionConfig) -> None:
    for key, value, allowed in (
        ("word", position.word, ("last_subword", "first_subword", "mean", "every_subword")),
        ("text", position.text, ("last_token", "mean")),
    ):
        if value not in allowed:
            raise UserError(
                f"position.{key}={value}: unknown position",
                allowed=", ".join(allowed),
                fix=f"position.{key}={allowed[0]}",
            )


def _forget_texts(handle: Handle) -> None:
    """Switch off a tokenizer's cache of words where a "word" is a whole text (Llama's): no text
    is met again, and the cache grows to hundreds of megabytes."""
    backend = handle.tokenizer.backend_tokenizer
    if backend.pre_tokenizer is None and hasattr(backend.model, "_resize_cache"):
        backend.model._resize_cache(0)


class _Pieces:
    """Columns that grow slab by slab, in place: a list of arrays would leave holes in memory."""

    def __init__(self) -> None:
        names = ("ids", "length", "example", "unit", "sequence", "first", "last")
        self.columns = {name: array("i") for name in (*names, "too_long", "empty")}
        self.longest = self.split_texts = 0

    def add(self, slab: Slab) -> None:
        unit, sequence, first, last = slab.rows
        self.longest = max(self.longest, slab.longest)
        self.split_texts += slab.split_texts
        for name, values in (
            ("unit", unit),
            ("sequence", sequence + len(self.columns["example"])),
            ("first", first),
            ("last", last),
            ("ids", slab.ids),
            ("length", np.diff(slab.offsets)),
            ("example", slab.example),
            ("too_long", slab.too_long),
            ("empty", slab.empty),
        ):
            self.columns[name].frombytes(values.astype(np.int32).tobytes())

    def joined(self, n_units: int, truncate: bool) -> Alignment:
        column = {name: np.frombuffer(c, dtype=np.int32) for name, c in self.columns.items()}
        cut = len(column["too_long"])
        return Alignment(
            ids=column["ids"],
            offsets=np.concatenate([[0], np.cumsum(column["length"], dtype=np.int64)]),
            example=column["example"],
            sequence=column["sequence"],
            first=column["first"],
            last=column["last"],
            unit=column["unit"],
            counts={
                "units": n_units,
                "dropped_units": n_units - _distinct(column["unit"]),
                "split_texts": self.split_texts,
                "truncated_texts": cut if truncate else 0,
                "unread_texts": len(column["empty"]) + (0 if truncate else cut),
            },
        )
