"""One generated example: a text, where it is read, and what a model that solves it says next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from random import Random
from typing import NamedTuple

from probes.config import GeneratedConfig
from probes.core.errors import UserError
from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import TEST, TRAIN, UNASSIGNED, VALIDATION, Corpus, Level
from probes.corpora.pieces import piece_feature

BLOCKS = 10
"""Six of them are trained on, two each are chosen and reported on."""


def part_of(block: int | None) -> int:
    """The split of the prompts of a block; without blocks it is drawn by group."""
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


class Expected(NamedTuple):
    """An answer of a prompt: the word that follows ``text[:offset]``, after a space."""

    offset: int
    word: str
    alternatives: tuple[str, ...] = ()
    """Other words that fit the place but are wrong."""
    feature: str = ""
    """The feature whose class the word stands for."""


@dataclass(frozen=True)
class Twin:
    """A corrupted prompt: as many words, of which the decisive ones are exchanged."""

    kind: str
    """What is exchanged."""
    text: str
    answer: str = ""
    """The word that comes next at its end; empty: none in particular."""


@dataclass(frozen=True)
class Prompt:
    """One example of a generated corpus."""

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
    """What a simplified model is trained to say and judged by, (offset, word): after
    ``text[:offset]`` comes ``word``. The text may continue otherwise: such a target is a hint, an
    intermediate step on the way to the answer at END, whose offset is ``len(text)``."""
    block: int | None = None
    """Of corpora whose templates and entities are dealt to blocks: which one. Such a corpus ships
    its split, as ``part_of`` says, so that the templates of the test split are new."""
    answers: tuple[Expected, ...] | None = None
    """The targets that any model is expected to say, in ascending order, with their alternatives;
    None: all targets with which the text goes on or ends."""
    twins: tuple[Twin, ...] = ()
    """Corrupted prompts, at most one of a kind. They have no labels."""

    def expected(self) -> tuple[Expected, ...]:
        """The answers of the corpus: those given, or the targets that are no hints."""
        if self.answers is not None:
            return self.answers
        return tuple(
            Expected(offset, word)
            for offset, word in self.targets
            if offset == len(self.text) or self.text.startswith(f" {word}", offset)
        )


def targets_of(answers: Iterable[Expected]) -> tuple[tuple[int, str], ...]:
    """The targets of a prompt all of whose targets are answers."""
    return tuple((answer.offset, answer.word) for answer in answers)


def twin_random(config: GeneratedConfig) -> Random:
    """Draws for the twins, apart from those for the prompts, which stay what they are."""
    return Random(f"twins of {config.name} {config.seed}")


@dataclass(frozen=True)
class GeneratedCorpus:
    """An endless, seeded stream of prompts, and how to describe them."""

    name: str
    prompts: Iterator[Prompt]
    group_name: str
    default_features: tuple[str, ...]
    descriptions: Mapping[str, str]
    """Feature -> what its classes are, in one line."""
    notes: Sequence[str] = ()
    pieces: bool = False
    """Whether the words that are read have the feature ``piece``, given by the tokenizer."""

    def take(self, count: int) -> list[Prompt]:
        """The first ``count`` prompts whose texts differ.

        Raises:
            UserError: there are fewer.
        """
        taken: dict[str, Prompt] = {}
        repeated = 0
        for prompt in self.prompts:
            if len(taken) == count or repeated > 1000 + 20 * count:
                break
            repeated = repeated + 1 if prompt.text in taken else 0
            taken.setdefault(prompt.text, prompt)
        if len(taken) < count:
            raise UserError(
                f"corpus.examples={count}: '{self.name}' has only {len(taken)} different examples",
                fix=f"corpus.examples={len(taken)}",
            )
        return list(islice(taken.values(), count))


def corpus_of(generated: GeneratedCorpus, prompts: Iterable[Prompt]) -> Corpus:
    """The corpus of some prompts; its split is by block, or drawn by group."""
    builder = CorpusBuilder(generated.name, group_name=generated.group_name)
    for prompt in prompts:
        example = builder.add_text(prompt.text, group=prompt.group, split=part_of(prompt.block))
        for mark in prompt.marks:
            builder.add_unit(example, mark.start, mark.end, mark.level, mark.values)
        if prompt.values:
            builder.add_unit(example, 0, len(prompt.text), "answer", prompt.values)
        for answer in prompt.expected():
            builder.add_answer(
                example,
                answer.offset,
                f" {answer.word}",
                alternatives=[f" {word}" for word in answer.alternatives],
                feature=answer.feature,
            )
        for twin in prompt.twins:
            said = f" {twin.answer}" if twin.answer else ""
            builder.add_contrast(example, twin.text, kind=twin.kind, answer=said)
    corpus = builder.build(
        default_features=generated.default_features,
        descriptions=generated.descriptions,
        notes=generated.notes,
    )
    if not generated.pieces:
        return corpus
    piece = piece_feature(corpus.units)
    return replace(corpus, features={**corpus.features, piece.name: piece})
