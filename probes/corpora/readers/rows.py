"""Rows of any table as examples: which column is the text, which the labels, group and split."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from probes.config import RowsConfig
from probes.core.errors import UserError, closest
from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import Corpus, Level

Row = Mapping[str, Any]

LABELS = {"label": "label"}
"""What is read where the config names no label column."""

_FIELD = re.compile(r"\{([^{}]+)\}")


def render(template: str, row: Row) -> str:
    """Fill ``{column}`` fields; nothing else in the template is interpreted.

    >>> render("Q: {q} A: {a}", {"q": "Who?", "a": "Me."})
    'Q: Who? A: Me.'
    """
    return _FIELD.sub(lambda match: str(value_at(row, match[1])), template)


def value_at(row: Row, column: str) -> Any:
    """A column, or what lies inside one: ``answer.type``, ``questions.0``.

    >>> value_at({"a": {"b": [4, 5]}}, "a.b.1")
    5

    Raises ``KeyError`` where there is no such place.
    """
    if column in row:
        return row[column]
    value: Any = row
    for step in column.split("."):
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise KeyError(column)
    return value


def fields(template: str) -> list[str]:
    """The columns that a template names."""
    return _FIELD.findall(template)


class RowReader:
    """Adds rows to a corpus as a config says; errors name the place that each row comes from."""

    def __init__(self, config: RowsConfig) -> None:
        self.config = config
        self.builder = CorpusBuilder(config.name, group_name=self._group_name())
        self.level: Level = "span" if config.span else _level(config.level)
        self.labels = dict(config.labels) or ({} if config.pairs else LABELS)
        self.skipped = {"text": 0, "label": 0}
        self._examples: dict[tuple[object, ...], int] = {}
        self._units: dict[tuple[object, ...], int] = {}
        self._occurrences: dict[tuple[object, ...], int] = {}
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
        group = self._column(row, self.config.group, "group", place) if self.config.group else None
        if self.config.pairs:
            for name, column in self.config.pairs.items():
                pair = {(rename or self.config.pair_feature): name, **values}
                text = self._text(row, column, f"pairs.{name}", place)
                self._add(text, row, pair, str(group or place), split, place)
            return
        text = self._text(row, self.config.text, "text", place)
        self._add(text, row, values, text if group is None else str(group), split, place)

    def _add(
        self,
        text: str,
        row: Row,
        values: Mapping[str, str | None],
        group: str,
        split: int,
        place: str,
    ) -> None:
        if not text.strip():
            self.skipped["text"] += 1
            return
        if all(value is None for value in values.values()):
            self.skipped["label"] += 1
            return
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

    def build(self, notes: list[str]) -> Corpus:
        """The corpus of all rows so far."""
        left_out = [f"{n} rows without a {what} left out" for what, n in self.skipped.items() if n]
        features = self.builder.features
        return self.builder.build(default_features=features, notes=[*notes, *left_out])

    def _text(self, row: Row, column: str, key: str, place: str) -> str:
        if column not in row and fields(column):
            for name in fields(column):
                self._column(row, name, key, place)
            return render(column, row)
        value = self._column(row, column, key, place)
        return "" if value is None else str(value)

    def _value(self, row: Row, feature: str, column: str, place: str) -> str | None:
        value = self._column(row, column, f"labels.{feature}", place)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        if isinstance(value, list | dict):
            raise UserError(
                f"{place}: column '{column}' holds a {type(value).__name__}, not a class",
                fix=f"++corpus.labels.{feature}=ANOTHER_COLUMN",
            )
        if self.config.threshold is not None:
            try:
                return "yes" if float(value) >= self.config.threshold else "no"
            except ValueError as error:
                raise UserError(
                    f"{place}: column '{column}' holds {str(value)!r}, not a number",
                    fix="corpus.threshold=null",
                ) from error
        name = str(value).lower() if isinstance(value, bool) else str(value).strip()
        if feature in self.config.cut:
            name = name.split(self.config.cut[feature])[0]
        return self.config.classes.get(name, name)

    def _span(self, row: Row, text: str, place: str) -> tuple[int, int]:
        values = [self._column(row, column, "span", place) for column in self.config.span or ()]
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

    @staticmethod
    def _column(row: Row, column: str, key: str, place: str) -> Any:
        try:
            return value_at(row, column)
        except KeyError:
            pass
        names = [str(name) for name in row]
        raise UserError(
            f"corpus.{key}={column}: {place} has no column '{column}'",
            allowed=", ".join(names),
            fix=f"corpus.{key}={closest(column, names)}",
        )


def _level(level: str) -> Level:
    if level == "sentence":
        return "sentence"
    if level == "answer":
        return "answer"
    raise UserError(
        f"corpus.level={level}: a row is a sentence or an answer",
        allowed="sentence, answer (and corpus.span=[START,END] for spans)",
        fix="corpus.level=sentence",
    )
