"""CSV, TSV, JSON, JSON Lines and ``label text`` files: one example, or one pair, a row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from probes.config import TableConfig
from probes.config.choices import check_choices
from probes.core.errors import UserError
from probes.corpora.corpus import SPLITS, UNASSIGNED, Corpus
from probes.corpora.files import existing, inside, matching, read_text, uncompressed_name
from probes.corpora.missing import is_missing
from probes.corpora.readers.columns import Row
from probes.corpora.readers.delimited import delimited_rows
from probes.corpora.readers.json_rows import json_rows
from probes.corpora.readers.label_text import label_text_rows
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
        name = uncompressed_name(path).stem if config.feature_per_file else None
        for line, row in read_rows(path, config, reader.notes):
            place = f"{path}, line {line}"
            part = split if config.split is None else _split(row, config, place)
            reader.add(row, place, part, rename=name)
    return reader.build([])


def read_rows(
    path: Path, config: TableConfig, notes: list[str] | None = None
) -> Iterator[tuple[int, Row]]:
    """Line number and columns of each row of one file; blank lines are no rows.

    notes: gets a sentence where a file is not read as its ending says.
    """
    notes = [] if notes is None else notes
    kind = _format(path, config)
    text = read_text(path, config.encoding, notes)
    if kind in ("json", "jsonl"):
        yield from json_rows(path, text, kind)
    elif kind == "label_text":
        yield from label_text_rows(path, text)
    else:
        yield from delimited_rows(path, text, config, "," if kind == "csv" else "\t", notes)


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
    check_choices(config, "corpus.")
    if config.format == "auto":
        for kind, ending in FORMATS.items():
            if ending and uncompressed_name(path).suffix.lower() == ending:
                return kind
        raise UserError(
            f"{path}: the ending '{path.suffix}' does not tell its format",
            allowed="corpus.format=" + ", ".join(FORMATS),
        )
    return config.format


def _split(row: Row, config: TableConfig, place: str) -> int:
    assert config.split is not None
    if config.split not in row:
        raise UserError(
            f"corpus.split={config.split}: {place} has no column '{config.split}'",
            allowed=", ".join(str(name) for name in row),
        )
    if is_missing(row[config.split]):
        raise UserError(
            f"{place}: no value in column '{config.split}', so the row is in no split",
            allowed=", ".join(SPLIT_NAMES),
        )
    value = str(row[config.split]).strip()
    name = config.split_values.get(value, SPLIT_NAMES.get(value.lower(), ""))
    if name not in SPLITS:
        raise UserError(
            f"{place}: '{value}' in column '{config.split}' names no split",
            allowed=", ".join(SPLIT_NAMES),
            fix=f"+corpus.split_values.{value}=train" if re.fullmatch(r"[\w-]+", value) else "",
        )
    return SPLITS.index(name)
