"""Templates and entities in blocks: what a block holds never occurs outside it.

The prompts of a block are on one side of a split, so neither a template nor an entity crosses it
(see ``prompt.part_of``). What is dealt where does not depend on the seed: a model trained on the
prompts of one seed has seen what the prompts of another are made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TypeVar

from probes.corpora.generated.kit.prompt import BLOCKS, Expected, Mark, Prompt, Twin

Item = TypeVar("Item")


@dataclass(frozen=True)
class Say:
    """A place in a text after which a model that has understood would say ``word``.

    With alternatives, even none (``()``), it is an answer of the corpus: the text goes on with the
    word, or ends. In a text that has such answers, a ``Say`` without alternatives is a hint, which
    only simplified models are trained on: the text may continue otherwise (intermediate
    supervision).
    """

    word: str
    alternatives: tuple[str, ...] | None = None
    feature: str = ""
    """The feature whose class the answer stands for."""


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


@dataclass(frozen=True)
class Written:
    """A text put together from parts, and what stands where in it."""

    text: str
    marks: tuple[Mark, ...]
    targets: tuple[tuple[int, str], ...]
    answers: tuple[Expected, ...] | None

    def prompt(
        self,
        group: str | None = None,
        *,
        block: int | None = None,
        values: Mapping[str, str],
        twins: Sequence[Twin] = (),
    ) -> Prompt:
        """The prompt of this text; without a group it is on its own."""
        return Prompt(
            self.text,
            self.text if group is None else group,
            marks=self.marks,
            values=values,
            targets=self.targets,
            block=block,
            answers=self.answers,
            twins=tuple(twins),
        )


def write(parts: Iterable[Part]) -> Written:
    """Join pieces of a text, with a space between them but not before punctuation. Empty pieces
    are left out.

    >>> write(["On the", ("table", {"noun": "yes"}), "."]).text
    'On the table.'
    """
    text = ""
    marks: list[Mark] = []
    targets: list[tuple[int, str]] = []
    answers: list[Expected] = []
    for part in parts:
        if isinstance(part, Say):
            targets.append((len(text), part.word))
            if part.alternatives is not None:
                answers.append(Expected(len(text), part.word, part.alternatives, part.feature))
            continue
        words, values = (part, None) if isinstance(part, str) else part
        if not words:
            continue
        text += " " if text and words[0] not in ",.;:?!" else ""
        if values is not None:
            marks.append(Mark(len(text), len(text) + len(words), values))
        text += words
    return Written(text, tuple(marks), tuple(targets), tuple(answers) or None)


def others(words: Iterable[str], word: str) -> tuple[str, ...]:
    """Some words without one of them: the alternatives to an answer."""
    return tuple(other for other in words if other != word)
