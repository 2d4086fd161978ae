"""Texts that have nothing to do with what is steered, and how well a model predicts them.

Everything moves the answer when it is pushed hard enough; that the model still speaks is seen in
the perplexity of other texts.
"""

from __future__ import annotations

import numpy as np

from probes.core.errors import UserError
from probes.corpora.corpus import TRAIN, Corpus
from probes.corpora.files import existing, read_text
from probes.interventions.scored_texts import IntArray, ScoredTexts, alignment_of
from probes.models.handle import Handle

MOST_TOKENS = 4096
"""Tokens of neutral text that are read, in whole texts: each strength runs them once more."""


def neutral_texts(corpus: Corpus, path: str | None) -> tuple[list[str], str]:
    """The texts, each once, and what they are in words.

    path: a text file, one text a line; None: the corpus' training texts up to their first answer,
    so that nothing that is measured is among them.

    Raises:
        UserError: the file is missing, or has no text.
    """
    if path is not None:
        file = existing(path, "steering.neutral")
        lines = [line.strip() for line in read_text(file).splitlines()]
        texts = list(dict.fromkeys(line for line in lines if line))
        if not texts:
            raise UserError(
                f"steering.neutral={path} has no text",
                allowed="a text file, one text a line",
                fix="steering.neutral=null",
            )
        return texts, f"the lines of {file.name}"
    ends: dict[int, int] = {}
    for answer in corpus.answers:
        ends[answer.example] = min(answer.offset, ends.get(answer.example, answer.offset))
    training = np.flatnonzero(corpus.splits == TRAIN).tolist()
    cut = [corpus.texts[e][: ends.get(e, len(corpus.texts[e]))].strip() for e in training]
    what = "training texts of the corpus" + (", up to their answers" if ends else "")
    return list(dict.fromkeys(text for text in cut if text)), what


def next_tokens(texts: list[str], handle: Handle, *, seed: int) -> ScoredTexts:
    """All tokens of some of the texts but the first, each predicted from those before it.

    They are drawn until there are ``MOST_TOKENS`` tokens; longer ones are cut to the context. Each
    text is a row and a part.

    Raises:
        UserError: no text has two tokens.
    """
    order = np.random.default_rng(seed).permutation(len(texts))
    sequences: list[list[int]] = []
    reads: list[tuple[int, int]] = []
    targets: list[int] = []
    part: list[int] = []
    for number in order.tolist():
        if len(targets) >= MOST_TOKENS:
            break
        (encoding,) = handle.encode([texts[number]])
        end = len(encoding.ids)
        while end and encoding.special[end - 1]:  # an end-of-text token is no word of the text
            end -= 1
        ids = encoding.ids[: min(end, handle.context)]
        if len(ids) < 2:
            continue
        reads += [(len(sequences), token) for token in range(len(ids) - 1)]
        targets += ids[1:]
        part += [len(sequences)] * (len(ids) - 1)
        sequences.append(list(ids[:-1]))
    if not sequences:
        raise UserError(
            f"steering.neutral: none of {len(texts)} texts has two tokens",
            fix="steering.neutral=FILE with sentences, one a line",
        )
    count = len(sequences)
    return ScoredTexts(
        alignment_of(sequences, range(count), reads),
        part=np.array(part, dtype=np.int64),
        row=np.arange(count),
        bad=np.zeros(count, dtype=bool),
        example=np.arange(count),
        targets=np.array(targets, dtype=np.int64),
        bounds=np.zeros(len(targets) + 1, dtype=np.int64),
    )


def tokens_of(texts: ScoredTexts) -> IntArray:
    """(N,) predicted tokens of each text."""
    return np.bincount(texts.part, minlength=len(texts)).astype(np.int64)
