"""How generated texts are put together: words with their places, even draws, invented words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from random import Random
from typing import TypeVar

from probes.corpora.generated.kit.prompt import Mark

T = TypeVar("T")
ATTACHED = frozenset(".,?;")
"""Signs that follow a word without a space."""


class Writer:
    """A text that grows word by word.

    >>> writer = Writer()
    >>> writer.add("dax", "mip", ".")
    2
    >>> writer.text, writer.words, writer.ends
    ('dax mip.', ['dax', 'mip', '.'], [3, 7, 8])
    """

    def __init__(self) -> None:
        self.text = ""
        self.words: list[str] = []
        self.ends: list[int] = []
        """One past the last character of each word: ``text[:ends[i]]`` ends with word ``i``."""

    def add(self, *words: str) -> int:
        """Append words to the text; the index of the last one."""
        for word in words:
            self.text += " " * bool(self.text and word not in ATTACHED) + word
            self.words.append(word)
            self.ends.append(len(self.text))
        return len(self.words) - 1

    def mark(self, index: int, values: Mapping[str, str]) -> Mark:
        """Word ``index`` with its classes."""
        return Mark(self.ends[index] - len(self.words[index]), self.ends[index], values)


def evenly(items: Sequence[T], rng: Random) -> Iterator[T]:
    """All items in random order, again and again: after any number of draws their counts differ
    by at most one."""
    while True:
        yield from rng.sample(items, len(items))


def invented_words(count: int) -> list[str]:
    """Pronounceable words that mean nothing, the same for every seed (at most 1,000)."""
    invented = ["".join(parts) for parts in product("bdfgklmnprstvz", "aeiou", "kmpvxz", "aiou")]
    invented = [word for word in invented if word not in _ENGLISH]
    return Random("invented words").sample(invented, 1000)[:count]


def words(text: str) -> list[str]:
    """The words of a list written as text."""
    return text.split()


_ENGLISH = frozenset(
    words(
        """
        baku bama boxa coma demo diva dopa feka gama gaza java kaka kiva lama lava limo mama maxi
        memo moka nemo nova papa pika poka puka puma roka roma sake sika soka soma sumo supa tapa
        taxi toma viva vivo zuma
        """
    )
)
