"""Small corpora by hand: words and whole texts as units, no labels."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from probes.corpora.corpus import LEVELS, Corpus, Units

TEXT = (
    "the old sailor mended nets before a storm came in; nobody believed that bridge would hold "
    "naïve café 12.5% of $300 isn't it"
)
WORDS = TEXT.split()


def make_corpus(texts: Sequence[str], units: Sequence[tuple[int, int, int, str]]) -> Corpus:
    """A corpus of ``texts`` with units (text, start, end, level)."""
    numbers = [(text, start, end, LEVELS.index(level)) for text, start, end, level in units]
    columns = np.array(numbers, dtype=np.int32).T  # (4, U)
    return Corpus(
        name="handmade",
        texts=tuple(texts),
        groups=tuple(str(i) for i in range(len(texts))),
        splits=np.zeros(len(texts), dtype=np.int8),
        units=Units(columns[0], columns[1], columns[2], columns[3].astype(np.int8)),
        features={},
    )


def words_of(text: str, number: int, level: str = "word") -> list[tuple[int, int, int, str]]:
    """Every run of letters or of punctuation as a unit."""
    found = re.finditer(r"\w+|[^\w\s]", text)
    return [(number, match.start(), match.end(), level) for match in found]


def corpus_of_words(texts: Sequence[str]) -> Corpus:
    return make_corpus(texts, [u for i, t in enumerate(texts) for u in words_of(t, i)])


def corpus_of_texts(texts: Sequence[str], level: str = "answer") -> Corpus:
    return make_corpus(texts, [(i, 0, len(t), level) for i, t in enumerate(texts)])


def mixed_corpus(texts: Sequence[str]) -> Corpus:
    """Words and the sentence that holds them."""
    units = []
    for i, text in enumerate(texts):
        units += [*words_of(text, i), (i, 0, len(text), "sentence")]
    return make_corpus(texts, units)


def random_texts(count: int, seed: int = 0, longest: int = 12) -> list[str]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest + 1, size=count)
    return [" ".join(rng.choice(WORDS, size=length)) for length in lengths]
