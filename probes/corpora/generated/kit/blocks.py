"""Templates and entities in blocks: what a block holds never occurs outside it.

The prompts of a block lie on one side of a split, so neither a template nor an entity crosses it
(see ``prompt.part_of``). What is dealt where does not depend on the seed: a model trained on the
prompts of one seed has seen what the prompts of another are made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TypeVar

from probes.corpora.generated.kit.prompt import BLOCKS, Mark

Item = TypeVar("Item")


@dataclass(frozen=True)
class Say:
    """A place in a text after which a model that has understood would say ``word``. The text need
    not go on with it: what is asked for at the end is then learnt in steps."""

    word: str


Part = str | tuple[str, Mapping[str, str]] | Say
"""A piece of a text; with values it is marked."""


def deal(items: Sequence[Item]) -> list[tuple[Item, ...]]:
    """Item ``i`` to block ``i % BLOCKS``: (BLOCKS,) tuples whose sizes differ by at most one."""
    return [tuple(items[block::BLOCKS]) for block in range(BLOCKS)]


def deal_words(words: str) -> list[tuple[str, ...]]:
    """The words of a text, dealt."""
    return deal(words.split())


def blocks() -> Iterator[int]:
    """The number of each prompt's block, in turn, without end."""
    return cycle(range(BLOCKS))


def write(parts: Iterable[Part]) -> tuple[str, tuple[Mark, ...]]:
    """The text of some pieces, a space between them but not before punctuation, and its marks.
    Empty pieces are left out.

    >>> write(["On the", ("table", {"noun": "yes"}), "."])[0]
    'On the table.'
    """
    text, marks, _ = write_with_targets(parts)
    return text, marks


def write_with_targets(
    parts: Iterable[Part],
) -> tuple[str, tuple[Mark, ...], tuple[tuple[int, str], ...]]:
    """What ``write`` gives, and the targets of a prompt."""
    text, marks, targets = "", [], []
    for part in parts:
        if isinstance(part, Say):
            targets.append((len(text), part.word))
            continue
        words, values = (part, None) if isinstance(part, str) else part
        if not words:
            continue
        text += " " if text and words[0] not in ",.;:?!" else ""
        if values is not None:
            marks.append(Mark(len(text), len(text) + len(words), values))
        text += words
    return text, tuple(marks), tuple(targets)
