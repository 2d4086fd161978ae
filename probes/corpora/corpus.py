"""What a corpus is: texts, the units of text that are labelled, their labels, groups and a split.

A corpus knows nothing of models or tokens. Positions are character offsets, so that any tokenizer
can be aligned with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from probes.core.errors import UserError, closest
from probes.corpora.answers import Answer, Contrast

Level = Literal["word", "span", "sentence", "answer"]
LEVELS: tuple[Level, ...] = ("word", "span", "sentence", "answer")
TEXT_LEVELS: tuple[Level, ...] = ("sentence", "answer")
"""Levels whose units are whole texts."""
SPLITS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = 0, 1, 2
UNASSIGNED, DROPPED = -1, -2

IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Units:
    """The labelled pieces of text, in corpus order: ascending example, start, level.

    Words and spans are parts of a text; a sentence or an answer is a unit that covers its text.
    """

    example: IntArray
    """(U,) index of the text that contains the unit."""
    start: IntArray
    """(U,) first character of the unit in its text."""
    end: IntArray
    """(U,) one past the last character."""
    level: npt.NDArray[np.int8]
    """(U,) index into ``LEVELS``."""

    def __len__(self) -> int:
        return len(self.example)


@dataclass(frozen=True)
class Feature:
    """One property of the units of a corpus, with a class for each unit that has a value."""

    name: str
    level: Level
    classes: tuple[str, ...]
    """Class names, sorted; ``codes`` index into them."""
    codes: IntArray
    """(U,) class of each unit of the corpus, -1 where it has no value."""
    description: str = ""
    of_rows: bool = False
    """Whether the class belongs to each row that a unit is read at (``pieces.py``): ``codes`` then
    tell only which units have one."""


@dataclass(frozen=True)
class Corpus:
    """Texts with gold annotations, a group for each text and a split."""

    name: str
    texts: tuple[str, ...]
    """(E,) one for each example."""
    groups: tuple[str, ...]
    """(E,) what must stay on one side of a split: the document, question, subject or template."""
    splits: npt.NDArray[np.int8]
    """(E,) ``TRAIN``, ``VALIDATION``, ``TEST``; ``UNASSIGNED`` where the source ships no split,
    ``DROPPED`` where a text or group recurs on another side and the example is left out."""
    units: Units
    features: dict[str, Feature]
    default_features: tuple[str, ...] = ()
    """What is probed when the user names no feature."""
    notes: tuple[str, ...] = ()
    """What reading left out or changed, counted, for the user to see."""
    group_name: str = "sentence"
    """What a group is, in one word, for messages and the report."""
    answers: tuple[Answer, ...] = ()
    """What a model is expected to say: ascending example, then offset."""
    contrasts: tuple[Contrast, ...] = ()
    """Corrupted twins of texts: ascending example; of one text one of a kind."""
    answered_at: Mapping[int, int] = field(default_factory=dict)
    """Example -> character at which its answer begins, for texts that hold question and answer."""

    def __post_init__(self) -> None:
        if not self.texts or not len(self.units):
            left_out = "".join(f"; {note}" for note in self.notes)
            raise UserError(
                f"corpus '{self.name}' is empty: {len(self.texts)} texts, {len(self.units)} units"
                + left_out
            )
        assert len(self.texts) == len(self.groups) == len(self.splits)
        assert all(len(f.codes) == len(self.units) for f in self.features.values())

    def feature(self, name: str) -> Feature:
        """The feature of that name; raises ``UserError`` with the names there are."""
        if name not in self.features:
            names = list(self.features)
            raise UserError(
                f"features=[{name}]: corpus '{self.name}' has no feature '{name}'",
                allowed=", ".join(names),
                fix=closest(name, names, "features=[{}]"),
            )
        return self.features[name]

    def unit_text(self, unit: int | np.integer) -> str:
        """The characters of one unit."""
        text: str = self.texts[self.units.example[unit]]
        return text[self.units.start[unit] : self.units.end[unit]]

    @cached_property
    def group_codes(self) -> IntArray:
        """(E,) the group of each example as a number."""
        return _codes(self.groups)

    @cached_property
    def text_codes(self) -> IntArray:
        """(E,) the text of each example as a number: texts that are equal but for case and white
        space share it."""
        return _codes(map(regardless_of_case, self.texts))

    @cached_property
    def type_codes(self) -> IntArray:
        """(U,) the word type of each unit as a number: its text without regard to case."""
        return _codes(self.unit_text(unit).casefold() for unit in range(len(self.units)))

    @cached_property
    def text_fingerprint(self) -> str:
        """Hash of what a model reads and where: texts and units, not labels or splits."""
        digest = hashlib.sha256()
        for text in self.texts:
            encoded = text.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        for array in (self.units.example, self.units.start, self.units.end, self.units.level):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    @cached_property
    def replies(self) -> tuple[int, ...]:
        """(E,) where the reply to each text begins: where its answer does, or at its end, where it
        is a prompt that a model goes on with; -1 for texts that ask for nothing."""
        replies = [-1] * len(self.texts)
        answers = self.units.level == LEVELS.index("answer")
        ends = [a.example for a in self.answers if a.offset == len(self.texts[a.example])]
        for example in (*self.units.example[answers].tolist(), *ends):
            replies[example] = len(self.texts[example])
        for example, start in self.answered_at.items():
            replies[example] = start
        return tuple(replies)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of what is probed: texts, units, labels, groups and splits."""
        digest = hashlib.sha256(self.text_fingerprint.encode())
        for name in sorted(self.features):
            feature = self.features[name]
            for part in (name, feature.level, *feature.classes):
                digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
            digest.update(feature.codes.tobytes())
        for group in self.groups:
            digest.update(group.encode("utf-8", "surrogatepass") + b"\0")
        digest.update(self.splits.tobytes())
        return digest.hexdigest()

    @cached_property
    def answers_fingerprint(self) -> str:
        """Hash of answers and contrasts, which ``fingerprint`` leaves out."""
        digest = hashlib.sha256()
        for record in (*self.answers, *self.contrasts):
            digest.update(repr(record).encode("utf-8", "surrogatepass") + b"\0")
        return digest.hexdigest()


def regardless_of_case(text: str) -> str:
    """What texts share that are equal but for case and white space."""
    return " ".join(text.casefold().split())


def _codes(values: Iterable[str]) -> IntArray:
    """Number each value by its first appearance."""
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(value, len(seen)) for value in values], dtype=np.int32)
