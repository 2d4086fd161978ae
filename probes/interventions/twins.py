"""Corrupted twins of scored texts, as tokens of a model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probes.corpora.corpus import Corpus
from probes.interventions.answer_tokens import encode_all
from probes.interventions.scored_texts import IntArray, ScoredTexts
from probes.models.handle import Handle
from probes.models.tokens import Encoding

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Twins:
    """What stands in the place of scored texts, and which of their answers that can change."""

    ids: npt.NDArray[np.int32]
    """(T,) tokens of the twins; of texts without one their own."""
    parts: BoolArray
    """(P,) answers of which a token is predicted after the first change."""
    notes: Counter[str]
    """What was left out, counted."""


def find_twins(corpus: Corpus, handle: Handle, texts: ScoredTexts, kind: str) -> Twins:
    """The twins of one kind, of texts with one sequence each.

    Only twins with as many tokens are kept: those that are scored are then at the same places.
    Answers that are predicted before anything differs are left out: neither run changes the other's
    value there, and as zeros in the mean of their text they would make its effects smaller. An
    answer in several tokens is whole or not there. A twin is continued with the answer of its text,
    where that comes after the text's end.
    """
    twins = {c.example: c.text for c in corpus.contrasts if c.kind == kind}
    examples = texts.alignment.example.tolist()
    ids = np.array(texts.alignment.ids)
    kept = np.zeros(len(texts.row), dtype=bool)
    last = _last_tokens(texts)
    bounds = _parts_of_sequences(texts)
    notes: Counter[str] = Counter()
    encoded = _with_twins(corpus, handle, examples, twins)
    for number, example in enumerate(examples):
        if example not in twins:
            notes["texts without a corrupted twin"] += 1
            continue
        original, other = encoded[2 * number : 2 * number + 2]
        if len(original.ids) != len(other.ids):
            notes["texts whose corrupted twin has another number of tokens"] += 1
            continue
        begin, end = texts.alignment.offsets[number : number + 2]
        if original.ids[: end - begin] != ids[begin:end].tolist():  # of several answers at its end
            notes["texts that end with another answer than their twin"] += 1
            continue
        parts = slice(bounds[number], bounds[number + 1])
        differs = np.flatnonzero(ids[begin:end] != other.ids[: end - begin])
        reached = last[parts] >= (differs[0] if len(differs) else end - begin)
        if not reached.any():
            notes["texts that their corrupted twin leaves alone up to the last answer"] += 1
            continue
        if before := int((~reached).sum()):
            notes["answers before what their corrupted twin changes"] += before
        ids[begin:end] = other.ids[: end - begin]
        kept[parts] = reached
    return Twins(ids.astype(np.int32), kept, notes)


def _with_twins(
    corpus: Corpus, handle: Handle, examples: list[int], twins: dict[int, str]
) -> list[Encoding]:
    """The tokens of each text and of its twin, one after the other."""
    endings = {
        a.example: a.text for a in corpus.answers if a.offset == len(corpus.texts[a.example])
    }
    written, replies = [], []
    for example in examples:
        own, reply = corpus.texts[example], corpus.replies[example]
        twin = twins.get(example, "")
        written += [text + endings.get(example, "") for text in (own, twin)]
        replies += [reply, len(twin) if reply == len(own) else reply]
    return encode_all(handle, written, replies)


def _last_tokens(texts: ScoredTexts) -> IntArray:
    """(P,) the last token of its sequence at which each part is read."""
    last = np.zeros(len(texts.row), dtype=np.int64)
    np.maximum.at(last, texts.part, texts.alignment.last)
    return last


def _parts_of_sequences(texts: ScoredTexts) -> IntArray:
    """(S+1,) where the parts of each sequence begin; they are in the order of the sequences."""
    sequence = np.zeros(len(texts.row), dtype=np.int64)
    sequence[texts.part] = texts.alignment.sequence
    starts = np.searchsorted(sequence, np.arange(len(texts.alignment.example) + 1))
    return starts.astype(np.int64)
