"""Collects texts and labelled units one by one and makes a ``Corpus`` of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from probes.core.errors import UserError
from probes.corpora.answers import Answer, Contrast, check_answer, check_contrast
from probes.corpora.corpus import LEVELS, Corpus, Feature, Level, Units, regardless_of_case
from probes.corpora.missing import count_unreadable, readable


class CorpusBuilder:
    """Add texts, then their units; ``build`` sorts the units and codes the classes.

    Units may come in any order within a text and carry any of the features: only values that
    exist are stored, so a feature that few units have costs little. NUL and halves of characters,
    which no tokenizer takes, become U+FFFD; a note counts the texts.
    """

    def __init__(self, name: str, *, group_name: str = "sentence") -> None:
        self.name = name
        self.group_name = group_name
        self._unreadable = 0
        self._first_texts: dict[str, str] = {}
        self.texts: list[str] = []
        self._groups: list[str] = []
        self._splits: list[int] = []
        self._example: list[int] = []
        self._start: list[int] = []
        self._end: list[int] = []
        self._level: list[int] = []
        self._features: dict[str, _Values] = {}
        self._answers: dict[tuple[int, int], Answer] = {}
        self._contrasts: dict[tuple[int, str], Contrast] = {}
        self._answered_at: dict[int, int] = {}

    def add_text(self, text: str, *, group: str, split: int, answered_at: int | None = None) -> int:
        """Add one example and return its index.

        A text that is its own group is in that of the first one equal to it but for case and white
        space. answered_at: the character at which its answer begins, if it holds one.
        """
        if group == text:
            group = self._first_texts.setdefault(regardless_of_case(text), text)
        clean = readable(text)
        self._unreadable += count_unreadable(text) if clean != text else 0
        self.texts.append(clean)
        self._groups.append(readable(group))
        self._splits.append(split)
        if answered_at is not None:
            self._answered_at[len(self.texts) - 1] = answered_at
        return len(self.texts) - 1

    def add_unit(
        self, example: int, start: int, end: int, level: Level, values: Mapping[str, str | None]
    ) -> None:
        """Add a unit ``texts[example][start:end]`` with its class of each feature."""
        unit = len(self._example)
        self._example.append(example)
        self._start.append(start)
        self._end.append(end)
        self._level.append(LEVELS.index(level))
        self.label(unit, level, values)

    def label(self, unit: int, level: Level, values: Mapping[str, str | None]) -> None:
        """Give a unit already added the values of further features."""
        for name, value in values.items():
            if value is None:
                continue
            feature = self._features.get(name)
            if feature is None:
                feature = self._features[name] = _Values(level)
            feature.units.append(unit)
            code = feature.classes.get(value)
            if code is None:  # a class that is new, or that is spelled with half a character
                code = feature.classes.setdefault(readable(value), len(feature.classes))
            feature.codes.append(code)

    def add_answer(
        self,
        example: int,
        offset: int,
        text: str,
        *,
        alternatives: Sequence[str] = (),
        feature: str = "",
        sequence: bool = False,
    ) -> None:
        """Add what comes next after ``texts[example][:offset]``; see ``Answer``.

        Raises:
            UserError: it does not fit the text, is its own alternative, or is the second one there.
        """
        answer = Answer(
            example,
            offset,
            readable(text),
            tuple(dict.fromkeys(map(readable, alternatives))),
            feature,
            sequence,
        )
        check_answer(answer, self.texts[example])
        if (example, offset) in self._answers:
            raise UserError(
                f"corpus '{self.name}': two answers at character {offset} of text {example}",
                allowed="one answer at a place; others that are right are left out",
            )
        self._answers[example, offset] = answer

    def add_contrast(self, example: int, text: str, *, kind: str, answer: str = "") -> None:
        """Add a corrupted twin of a text; see ``Contrast``.

        Raises:
            UserError: it has another number of words, is the same text, or is the second one of its
                kind.
        """
        contrast = Contrast(example, kind, readable(text), readable(answer))
        check_contrast(contrast, self.texts[example])
        if (example, kind) in self._contrasts:
            raise UserError(
                f"corpus '{self.name}': two contrasts '{kind}' of text {example}",
                allowed="one contrast of a kind for a text",
            )
        self._contrasts[example, kind] = contrast

    def __len__(self) -> int:
        return len(self._example)

    @property
    def features(self) -> list[str]:
        """Names of the features that have a value so far."""
        return list(self._features)

    def classes(self, feature: str) -> list[str]:
        """Names of the classes of a feature so far."""
        return list(self._features[feature].classes)

    def rename_classes(self, feature: str, names: Mapping[str, str]) -> None:
        """Give classes other names; those that get one name become one class."""
        self._features[feature].rename(names)

    def rename_groups(self, names: Mapping[str, str]) -> None:
        """Give groups other names; those that get one name become one group."""
        self._groups = [names.get(group, group) for group in self._groups]

    def build(
        self,
        *,
        default_features: Sequence[str] = (),
        descriptions: Mapping[str, str] | None = None,
        notes: Sequence[str] = (),
    ) -> Corpus:
        """The corpus; default features that do not occur in it are left out of the defaults."""
        example = np.array(self._example, dtype=np.int32)
        start = np.array(self._start, dtype=np.int32)
        level = np.array(self._level, dtype=np.int8)
        order = np.lexsort((level, start, example))  # (U,) stable: words of one surface stay put
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        features = {
            name: values.feature(name, rank, (descriptions or {}).get(name, ""))
            for name, values in self._features.items()
        }
        return Corpus(
            name=self.name,
            texts=tuple(self.texts),
            groups=tuple(self._groups),
            splits=np.array(self._splits, dtype=np.int8),
            units=Units(
                example=example[order],
                start=start[order],
                end=np.array(self._end, dtype=np.int32)[order],
                level=level[order],
            ),
            features=features,
            default_features=tuple(name for name in default_features if name in features),
            notes=(*notes, *self._notes()),
            group_name=self.group_name,
            answers=tuple(self._answers[place] for place in sorted(self._answers)),
            contrasts=tuple(sorted(self._contrasts.values(), key=lambda c: c.example)),
            answered_at=self._answered_at,
        )

    def _notes(self) -> list[str]:
        if not self._unreadable:
            return []
        return [f"{self._unreadable} NUL characters or halves of a character replaced by U+FFFD"]


class _Values:
    """The values of one feature so far; classes are coded in order of appearance."""

    def __init__(self, level: Level) -> None:
        self.level = level
        self.units: list[int] = []
        self.codes: list[int] = []
        self.classes: dict[str, int] = {}

    def rename(self, names: Mapping[str, str]) -> None:
        classes: dict[str, int] = {}
        merged = [
            classes.setdefault(names.get(name, name), len(classes)) for name in self.classes
        ]  # code -> code of the new name
        self.classes = classes
        self.codes = [merged[code] for code in self.codes]

    def feature(self, name: str, rank: npt.NDArray[np.intp], description: str) -> Feature:
        classes = tuple(sorted(self.classes))
        sorted_code = np.empty(len(classes), dtype=np.int32)
        for code, value in enumerate(classes):
            sorted_code[self.classes[value]] = code
        codes = np.full(len(rank), -1, dtype=np.int32)  # (U,)
        codes[rank[self.units]] = sorted_code[self.codes]
        return Feature(name, self.level, classes, codes, description)
