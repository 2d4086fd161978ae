"""The records of a benchmark, from a local copy or from the Hugging Face Hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from probes.config import RecordsConfig, TableConfig
from probes.core.errors import UserError
from probes.corpora.corpus import SPLITS, TRAIN
from probes.corpora.files import existing, parts, uncompressed_name
from probes.corpora.readers.columns import Row, column_of, fields, render
from probes.corpora.readers.table import SPLIT_NAMES, read_rows

ENDINGS = (".csv", ".tsv", ".jsonl", ".json")
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class Record:
    """One record, and where it comes from."""

    row: Row
    place: str
    """File and line, or dataset and row: for messages."""
    split: int
    part: str
    """What the file is called beside its split: ``anatomy`` for anatomy_test.csv."""

    def column(self, name: str, key: str) -> Any:
        """The value of a column; raises ``UserError`` that names ``corpus.<key>``."""
        return column_of(self.row, name, key, self.place)

    def text(self, template: str, key: str) -> str:
        """A template of columns, filled."""
        for name in fields(template):
            self.column(name, key)
        return render(template, self.row)


def records(config: RecordsConfig) -> Iterator[Record]:
    """The records of a config.

    Raises:
        UserError: there is nothing to read: no such path or dataset, no file of the wanted parts,
            or files of another format.
    """
    if config.path in ("???", ""):
        raise UserError("corpus.path is not set", fix="corpus.path=FILE_OR_DIRECTORY_OR_HUB_ID")
    path = Path(config.path).expanduser()
    files = _files(path)
    if files:
        yield from _local(config, path, files)
    elif not path.exists() and not HUB_ID.fullmatch(config.path):
        existing(config.path, "corpus.path")
    elif path.is_dir() and not any(path.iterdir()):
        raise UserError(
            f"corpus.path={path} is empty",
            allowed=f"a directory with files ending in {', '.join(ENDINGS)}, or a Hub id",
        )
    else:
        yield from _hub(config)


def is_dataset(path: str) -> bool:
    """Whether a path is a dataset of the Hub, or one written by ``save_to_disk``."""
    local = Path(path).expanduser()
    if local.is_dir():
        return any((local / name).is_file() for name in ("dataset_dict.json", "state.json"))
    return not local.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", path) is not None


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if is_dataset(str(path)) or not path.is_dir():
        return []
    return sorted(
        file for file in path.rglob("*") if uncompressed_name(file).suffix.lower() in ENDINGS
    )


def _local(config: RecordsConfig, path: Path, files: list[Path]) -> Iterator[Record]:
    wanted = [(TRAIN, None)] if path.is_file() else list(parts(config.splits))
    is_named = False
    for split, part in wanted:
        for file in files:
            stem = uncompressed_name(file).stem
            name = stem if part is None else _without(stem, part, file.parent.name)
            if name is None:
                continue
            is_named = True
            rows = _rows(file, config.columns)
            for line, row in islice(rows, config.max_examples):
                yield Record(row, f"{file}, line {line}", split, name)
    if not is_named:
        first = wanted[0][1]
        raise UserError(
            f"corpus.path={path}: none of its {len(files)} files is named after '{first}'",
            allowed=", ".join(str(file.relative_to(path)) for file in files[:8]),
            fix="corpus.splits.train=NAME, or corpus.path=FILE",
        )


def _rows(file: Path, columns: list[str]) -> Iterator[tuple[int, Row]]:
    for line, row in read_rows(file, TableConfig(header=not columns)):
        if columns and uncompressed_name(file).suffix.lower() == ".csv":
            if len(columns) != len(row):
                raise UserError(
                    f"corpus.columns={columns}: {len(columns)} names, and {file}, line {line} has "
                    f"{len(row)} columns"
                )
            row = dict(zip(columns, row.values(), strict=True))
        yield line, row


def _without(stem: str, part: str, folder: str) -> str | None:
    """The name of a file without its part; None: a file of another part.

    >>> _without("anatomy_test", "test", "mmlu"), _without("train-0001", "train", "data")
    ('anatomy', '')
    """
    wanted = SPLIT_NAMES.get(part.lower(), part)
    words = re.split(r"[-_.]", stem)
    if part == stem or SPLIT_NAMES.get(words[0].lower(), words[0]) == wanted:
        return ""
    if SPLIT_NAMES.get(words[-1].lower(), words[-1]) == wanted:
        return stem[: -len(words[-1]) - 1]
    return stem if SPLIT_NAMES.get(folder.lower(), folder) == wanted else None


def _hub(config: RecordsConfig) -> Iterator[Record]:
    from probes.corpora.readers.datasets import named_rows, open_dataset

    dataset = open_dataset(config.path, config.config, config.revision)
    for split, part in parts(config.splits):
        if part in dataset:
            for number, row in enumerate(islice(named_rows(dataset[part]), config.max_examples)):
                yield Record(row, f"{config.path} [{part}], row {number}", split, "")
        elif split == TRAIN:
            raise UserError(
                f"corpus.splits.{SPLITS[split]}={part}: '{config.path}' has no such split",
                allowed=", ".join(dataset),
                fix=f"corpus.splits.train={next(iter(dataset))}",
            )
