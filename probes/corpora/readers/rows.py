"""Rows of any table as examples: which column is the text, which the labels, group and split."""

from __future__ import annotations

import math
from collections.abc import Mapping

from probes.config import RowsConfig
from probes.config.choices import check_choices
from probes.core.errors import UserError
from probes.corpora.answers import count_words
from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import Corpus, Level
from probes.corpora.missing import is_blank, is_missing
from probes.corpora.numbers import number, plain
from probes.corpora.readers.columns import Row, column_of, fields, listed_in, render, set_column
from probes.corpora.readers.row_answers import RowAnswers
from probes.corpora.readers.spelling import spell_numbers

LABELS = {"label": "label"}
"""What is read where the config names no label column."""


class RowReader:
    """Adds rows to a corpus as a config says; errors name the place that each row comes from."""

    def __init__(self, config: RowsConfig) -> None:
        check_choices(config, "corpus.")
        self.config = config
        self.builder = CorpusBuilder(config.name, group_name=self._group_name())
        level: Level = "answer" if config.level == "answer" else "sentence"
        self.level: Level = "span" if config.span else level
        self.labels = dict(config.labels) or _default_labels(config)
        feature = next((f for f, column in self.labels.items() if column == config.answer), "")
        self.answers = RowAnswers(config, feature)
        self.skipped = {"text": 0, "label": 0}
        self.notes: list[str] = []
        """What files were read as, where that is not as they say."""
        self._ungrouped = 0
        self._groups: dict[str, None] = {}
        self._examples: dict[tuple[object, ...], int] = {}
        self._units: dict[tuple[object, ...], int] = {}
        self._occurrences: dict[tuple[object, ...], int] = {}
        self._preferred: set[int] = set()
        if config.threshold is not None and math.isnan(config.threshold):
            raise UserError("corpus.threshold=nan: not a number", fix="corpus.threshold=null")
        if config.span is not None and len(config.span) != 2:
            raise UserError(
                f"corpus.span={config.span}: a span has two columns",
                fix="corpus.span=[start,end]",
            )
        unknown = sorted(set(config.cut) - set(self.labels))
        if unknown:
            raise UserError(
                f"corpus.cut={{{unknown[0]}: ...}}: no feature '{unknown[0]}'",
                allowed=", ".join(self.labels),
            )
        if config.preferred is not None and config.preferred not in config.pairs:
            raise UserError(
                f"corpus.preferred={config.preferred}: no such class of corpus.pairs",
                allowed=", ".join(config.pairs) or "none: corpus.pairs is empty",
            )

    def _group_name(self) -> str:
        if self.config.group is not None:
            return self.config.group
        return "pair" if self.config.pairs else "text"

    def new_file(self) -> None:
        """Rows of another file follow: texts that recur there are the same examples."""
        self._occurrences.clear()

    def add(self, row: Row, place: str, split: int, *, rename: str | None = None) -> None:
        """Add one row; ``rename`` is the name of its one feature in place of the config's."""
        values = {
            rename or feature: self._value(row, feature, column, place)
            for feature, column in self.labels.items()
        }
        group = self.group_of(row, place)
        if self.config.pairs:
            texts = {
                name: self._text(row, column, f"pairs.{name}", place)
                for name, column in self.config.pairs.items()
            }
            feature = rename or self.config.pair_feature
            for name, text in texts.items():
                pair = {feature: name, **values}
                example = self._add(text, row, pair, group or place, split, place)
                if example is not None and name == self.config.preferred:
                    self._prefer(example, texts, feature)
            return
        text = self._text(row, self.config.text, "text", place)
        self._add(text, row, values, group or text, split, place)

    def group_of(self, row: Row, place: str) -> str:
        """The group that ``corpus.group`` gives a row; empty: none, and it is one of its own."""
        if self.config.group is None:
            return ""
        value = column_of(row, self.config.group, "group", place)
        if is_missing(value):
            self._ungrouped += 1
            return ""
        self._groups.setdefault(str(value))
        return str(value)

    def _add(
        self,
        text: str,
        row: Row,
        values: Mapping[str, str | None],
        group: str,
        split: int,
        place: str,
    ) -> int | None:
        """Add a row's text and unit; the example, or None where the row is left out."""
        if is_missing(text):
            self.skipped["text"] += 1
            return None
        if all(value is None for value in values.values()):
            self.skipped["label"] += 1
            return None
        start, end = self._span(row, text, place) if self.config.span else (0, len(text))
        # Spans of one text share an example; a text that one file repeats is a new example.
        key: tuple[object, ...] = (text, group, split)
        occurrence = self._occurrences.get((*key, start, end), 0)
        self._occurrences[(*key, start, end)] = occurrence + 1
        example_key = key if self.config.span and not occurrence else (*key, occurrence)
        if example_key not in self._examples:
            self._examples[example_key] = self.builder.add_text(text, group=group, split=split)
        unit_key = (*example_key, start, end)
        if unit_key not in self._units:
            self._units[unit_key] = len(self.builder)
            self.builder.add_unit(self._examples[example_key], start, end, self.level, values)
        else:
            self.builder.label(self._units[unit_key], self.level, values)
        example = self._examples[example_key]
        if not self.config.pairs:
            self.answers.note(example, row, place)
        return example

    def _prefer(self, example: int, texts: Mapping[str, str], feature: str) -> None:
        """The text that a model should prefer, as an answer to nothing, against the others."""
        if example in self._preferred:
            return  # a text that recurs in another file
        self._preferred.add(example)
        text = self.builder.texts[example]
        others = {
            name: other for name, other in texts.items() if not is_blank(other) and other != text
        }
        self.builder.add_answer(
            example, 0, text, alternatives=list(others.values()), feature=feature, sequence=True
        )
        for name, other in others.items():
            if count_words(other) == count_words(text):
                self.builder.add_contrast(example, other, kind=name)

    def build(self, notes: list[str]) -> Corpus:
        """The corpus of all rows so far."""
        left_out = [f"{n} rows without a {what} left out" for what, n in self.skipped.items() if n]
        if self._ungrouped:
            left_out.append(
                f"{self._ungrouped} rows without a '{self.config.group}': each is a group of its "
                "own"
            )
        left_out += self.answers.add_to(self.builder)
        left_out += spell_numbers(self.builder, self._groups)
        features = self.builder.features
        return self.builder.build(default_features=features, notes=[*self.notes, *notes, *left_out])

    def _text(self, row: Row, column: str, key: str, place: str) -> str:
        if column not in row and fields(column):
            for name in fields(column):
                column_of(row, name, key, place)
            return render(column, row)
        value = column_of(row, column, key, place)
        if isinstance(value, list | dict):
            raise UserError(
                f"{place}: column '{column}' holds a {type(value).__name__}, not a text",
                allowed="a text; lists of words are read by corpus=datasets corpus.tokens=COLUMN",
            )
        return "" if is_missing(value) else str(value)

    def _value(self, row: Row, feature: str, column: str, place: str) -> str | None:
        key = (
            f"labels.{feature}" if self.config.labels or column != self.config.answer else "answer"
        )
        value = column_of(row, column, key, place)
        if is_missing(value):
            return None
        listed = listed_in(value)
        if listed is not None:
            first = set_column(f"labels.{feature}", f"{column}.0")
            raise UserError(
                f"{place}: column '{column}' holds a {type(listed).__name__}, not a class: "
                f"{str(value)[:60]}",
                allowed="one class a row",
                fix=f"{first} (the first of each row)" if isinstance(value, list) and value else "",
            )
        if self.config.threshold is not None:
            try:
                return "yes" if float(value) >= self.config.threshold else "no"
            except (TypeError, ValueError) as error:
                raise UserError(
                    f"{place}: column '{column}' holds {str(value)!r}, not a number",
                    fix="corpus.threshold=null",
                ) from error
        name = str(value).lower() if isinstance(value, bool) else str(value).strip()
        if feature in self.config.cut:
            name = name.split(self.config.cut[feature])[0]
        return self._class_name(name)

    def _class_name(self, name: str) -> str:
        """What ``corpus.classes`` calls a value: as it is written, or as the plain number."""
        classes = self.config.classes
        if classes and name not in classes:
            value = number(name)
            name = plain(value) if value is not None and plain(value) in classes else name
        given = classes.get(name, name)
        if isinstance(given, bool):
            return "yes" if given else "no"  # YAML reads the words yes and no as truth values
        return str(given)

    def _span(self, row: Row, text: str, place: str) -> tuple[int, int]:
        values = [column_of(row, column, "span", place) for column in self.config.span or ()]
        try:
            start, end = (int(value) for value in values)
        except (TypeError, ValueError):
            start, end = -1, -1
        if not 0 <= start < end <= len(text):
            raise UserError(
                f"{place}: span {values[0]} to {values[1]} of a text of {len(text)} characters",
                allowed="0 <= start < end <= length, in characters",
            )
        return start, end


def _default_labels(config: RowsConfig) -> dict[str, str]:
    """Feature -> column where the config names none: the answer is a feature of its own."""
    if config.pairs:
        return {}
    return LABELS if config.answer is None else {"answer": config.answer}
