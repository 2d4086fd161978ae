"""CSV, TSV, JSON, JSON Lines and ``label text`` files: one example, or one pair, a row."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from probes.config import TableConfig
from probes.core.errors import UserError, closest
from probes.corpora.corpus import SPLITS, UNASSIGNED, Corpus
from probes.corpora.files import existing, inside, matching, read_json, read_text
from probes.corpora.readers.columns import Row
from probes.corpora.readers.rows import RowReader

FORMATS = {"csv": ".csv", "tsv": ".tsv", "jsonl": ".jsonl", "json": ".json", "label_text": ""}
"""Format -> the file ending that says so."""

SPLIT_NAMES = {
    **dict.fromkeys(("train", "tr", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "va", "dev"), "validation"),
    **dict.fromkeys(("test", "te", "testing"), "test"),
}


def load(config: TableConfig) -> Corpus:
    """The corpus of ``corpus=table`` and of the presets made from it."""
    reader = RowReader(config)
    if config.feature_per_file and len(reader.labels) + bool(config.pairs) != 1:
        raise UserError(
            f"corpus.feature_per_file=true: {len(reader.labels)} label columns, and a file "
            "stands for one feature",
            fix="corpus.feature_per_file=false",
        )
    for split, path in _files(config):
        reader.new_file()
        name = path.stem if config.feature_per_file else None
        for line, row in read_rows(path, config):
            place = f"{path}, line {line}"
            part = split if config.split is None else _split(row, config, place)
            reader.add(row, place, part, rename=name)
    return reader.build([])


def read_rows(path: Path, config: TableConfig) -> Iterator[tuple[int, Row]]:
    """Line number and columns of each row of one file; blank lines are no rows."""
    kind = _format(path, config)
    if kind == "json":
        yield from _listed_rows(path, read_json(path, config.encoding))
        return
    text = read_text(path, config.encoding)
    if kind == "jsonl":
        yield from _json_rows(path, text)
    elif kind == "label_text":
        for number, line in enumerate(text.split("\n"), start=1):
            label, _, rest = line.strip().partition(" ")
            if label:
                yield number, {"label": label, "text": rest.strip()}
    else:
        yield from _delimited_rows(path, text, config, "," if kind == "csv" else "\t")


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(
                f"{path}, line {number}: not JSON: {error.msg} at column {error.colno}",
                allowed="one JSON object a line",
            ) from error
        if not isinstance(row, dict):
            raise UserError(
                f"{path}, line {number}: a JSON {type(row).__name__}",
                allowed="one JSON object a line",
            )
        yield number, row


def _listed_rows(path: Path, content: Any) -> Iterator[tuple[int, Row]]:
    """Rows of one JSON list, counted from 1 in place of lines."""
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise UserError(
            f"{path}: not a JSON list of objects",
            allowed="[{...}, {...}]; or one object a line in a file with the ending .jsonl",
            fix="corpus.format=jsonl",
        )
    yield from enumerate(content, start=1)


def _delimited_rows(
    path: Path, text: str, config: TableConfig, usual: str
) -> Iterator[tuple[int, Row]]:
    quotes = config.quotes if config.quotes is not None else usual == ","
    delimiter = config.delimiter or usual
    if len(delimiter) != 1:
        raise UserError(
            f"corpus.delimiter={delimiter!r}: not one character", fix="corpus.delimiter=';'"
        )
    reader = csv.reader(
        io.StringIO(text, newline=""),  # breaks lines at \n and \r only, not at U+2028
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
        strict=True,
    )
    names: list[str] | None = None
    try:
        for cells in reader:
            if not cells:
                continue
            if names is None:
                names = cells if config.header else [str(i) for i in range(len(cells))]
                names = [name.strip() for name in names]
                if config.header:
                    continue
            if len(cells) != len(names):
                raise UserError(
                    f"{path}, line {reader.line_num}: {len(cells)} columns where the first row "
                    f"has {len(names)}",
                    fix="corpus.delimiter=CHARACTER or corpus.quotes=true|false",
                )
            yield reader.line_num, dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise UserError(
            f"{path}, line {reader.line_num}: {error}", fix="corpus.quotes=false"
        ) from error


def _files(config: TableConfig) -> Iterator[tuple[int, Path]]:
    """The files to read and the split of each."""
    named = {name: getattr(config, name) for name in SPLITS if getattr(config, name) is not None}
    if config.path is None:
        if not named:
            raise UserError("corpus.path is not set", fix="corpus.path=FILE_OR_DIRECTORY")
        for name, value in named.items():
            yield SPLITS.index(name), existing(value, f"corpus.{name}")
        return
    path = existing(config.path, "corpus.path")
    if path.is_file():
        yield UNASSIGNED, path
    elif config.files:
        for pattern in config.files:
            for file in matching(path, pattern, "corpus.files"):
                yield UNASSIGNED, file
    elif named:
        for name, value in named.items():
            yield SPLITS.index(name), inside(path, value, f"corpus.{name}")
    else:
        raise UserError(
            f"corpus.path={path} is a directory: which of its files?",
            allowed=", ".join(sorted(entry.name for entry in path.iterdir())[:12]),
            fix="corpus.files=[NAME] or corpus.train=NAME corpus.test=NAME",
        )


def _format(path: Path, config: TableConfig) -> str:
    if config.format == "auto":
        for kind, ending in FORMATS.items():
            if ending and path.suffix.lower() == ending:
                return kind
        raise UserError(
            f"{path}: the ending '{path.suffix}' does not tell its format",
            allowed=", ".join(FORMATS),
            fix="corpus.format=tsv",
        )
    if config.format not in FORMATS:
        raise UserError(
            f"corpus.format={config.format}: no such format",
            allowed=", ".join(("auto", *FORMATS)),
            fix=closest(config.format, list(FORMATS), "corpus.format={}"),
        )
    return config.format


def _split(row: Row, config: TableConfig, place: str) -> int:
    assert config.split is not None
    if config.split not in row:
        raise UserError(
            f"corpus.split={config.split}: {place} has no column '{config.split}'",
            allowed=", ".join(str(name) for name in row),
        )
    value = str(row[config.split])
    name = config.split_values.get(value, SPLIT_NAMES.get(value.lower(), ""))
    if name not in SPLITS:
        raise UserError(
            f"{place}: '{value}' in column '{config.split}' names no split",
            allowed=", ".join(SPLIT_NAMES),
            fix=f"+corpus.split_values.{value}=train",
        )
    return SPLITS.index(name)
