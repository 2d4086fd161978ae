"""One generated example: a text, where it is read, and what a model that solves it says next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from probes.core.errors import UserError
from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import TEST, TRAIN, UNASSIGNED, VALIDATION, Corpus, Level
from probes.corpora.pieces import piece_feature

BLOCKS = 10
"""Six of them are trained on, two each are chosen and reported on."""


def part_of(block: int | None) -> int:
    """The split that the prompts of a block lie in; without blocks it is drawn by group."""
    if block is None:
        return UNASSIGNED
    return TRAIN if block < 6 else VALIDATION if block < 8 else TEST


@dataclass(frozen=True)
class Mark:
    """A piece ``text[start:end]`` of a prompt and its class of each feature read there."""

    start: int
    end: int
    values: Mapping[str, str]
    level: Level = "word"


@dataclass(frozen=True)
class Prompt:
    """One example of a generated task."""

    text: str
    """All that the model reads; its last token is END."""
    group: str
    """What is drawn together, as one case: the entity, cycle, ...; the text, if it is on its own.
    A group never crosses a split."""
    marks: tuple[Mark, ...] = ()
    """Words and spans where features are read."""
    values: Mapping[str, str] = field(default_factory=dict)
    """Features read at END."""
    targets: tuple[tuple[int, str], ...] = ()
    """What comes next, (offset, word): after ``text[:offset]`` a model that has understood says
    ``word``. Text may go on behind the offset; the answer at END has offset ``len(text)``. This is
    what a simplified model is trained on and judged by."""
    block: int | None = None
    """Of tasks whose templates and entities are dealt to blocks: which one. Such a task ships its
    split, as ``part_of`` says, so that the templates of the test split are new."""


@dataclass(frozen=True)
class Generated:
    """A generated task: an endless, seeded stream of prompts and what to call it."""

    name: str
    prompts: Iterator[Prompt]
    group_name: str
    default_features: tuple[str, ...]
    descriptions: Mapping[str, str]
    """Feature -> what its classes say, in one line."""
    notes: Sequence[str] = ()
    pieces: bool = False
    """Whether the words that are read have the feature ``piece``, given by the tokenizer."""

    def take(self, count: int) -> list[Prompt]:
        """The first ``count`` prompts whose texts differ.

        Raises ``UserError`` where the task has fewer.
        """
        found: dict[str, Prompt] = {}
        idle = 0
        for prompt in self.prompts:
            if len(found) == count or idle > 1000 + 20 * count:
                break
            idle = idle + 1 if prompt.text in found else 0
            found.setdefault(prompt.text, prompt)
        if len(found) < count:
            raise UserError(
                f"corpus.examples={count}: '{self.name}' has only {len(found)} different examples",
                fix=f"corpus.examples={len(found)}",
            )
        return list(islice(found.values(), count))


def corpus_of(task: Generated, prompts: Iterable[Prompt]) -> Corpus:
    """The corpus of some prompts of a task; its split is by block, or drawn by group."""
    builder = CorpusBuilder(task.name, group_name=task.group_name)
    for prompt in prompts:
        example = builder.add_text(prompt.text, group=prompt.group, split=part_of(prompt.block))
        for mark in prompt.marks:
            builder.add_unit(example, mark.start, mark.end, mark.level, mark.values)
        if prompt.values:
            builder.add_unit(example, 0, len(prompt.text), "answer", prompt.values)
    corpus = builder.build(
        default_features=task.default_features,
        descriptions=task.descriptions,
        notes=task.notes,
    )
    if not task.pieces:
        return corpus
    piece = piece_feature(corpus.units)
    return replace(corpus, features={**corpus.features, piece.name: piece})
