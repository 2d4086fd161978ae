"""Hugging Face datasets, by name or local path; needs the extra ``datasets``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from probes.config import DatasetsConfig
from probes.core.errors import UserError
from probes.corpora.corpus import TRAIN, Corpus
from probes.corpora.files import parts
from probes.corpora.joining import join_words
from probes.corpora.missing import is_blank, is_missing
from probes.corpora.readers.bio import entity_type
from probes.corpora.readers.rows import RowReader


def load(config: DatasetsConfig) -> Corpus:
    """The corpus of ``corpus=datasets``.

    Integer labels with names in the dataset (``ClassLabel``) become those names. With
    ``corpus.tokens`` the words of a row are joined (``corpus.join``) and each has its own label.
    """
    dataset = open_dataset(config.path, config.config, config.revision)
    reader = RowReader(config)
    for split, wanted in parts(config.splits):
        if wanted not in dataset:
            if split == TRAIN:
                raise UserError(
                    f"corpus.splits.train={wanted}: '{config.path}' has no such split",
                    allowed=", ".join(dataset),
                    fix=f"corpus.splits.train={next(iter(dataset))}",
                )
            continue
        part = dataset[wanted]
        for number, named in enumerate(named_rows(part)):
            if number == config.max_examples:
                break
            place = f"{config.path} [{wanted}], row {number}"
            if config.tokens is None:
                reader.add(named, place, split)
            else:
                _add_words(reader, config, named, place, split)
    return reader.build([])


def open_dataset(
    where: str, config: str | None = None, revision: str | None = None
) -> Mapping[str, Any]:
    """The splits by name of a dataset on the Hub or in a directory."""
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            f"corpus.path={where}: the package 'datasets' is not installed",
            fix="pip install 'headprobes[datasets]'",
        ) from error
    if where in ("???", ""):
        raise UserError("corpus.path is not set", fix="corpus.path=HUB_ID_OR_DIRECTORY")
    path = Path(where).expanduser()
    saved = any((path / name).is_file() for name in ("dataset_dict.json", "state.json"))
    try:
        if saved:
            dataset = datasets.load_from_disk(str(path))
        else:
            name = str(path) if path.exists() else where
            dataset = datasets.load_dataset(name, config, revision=revision)
    except Exception as error:  # the library raises a dozen kinds, most of them undocumented
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"corpus.path={where}: {type(error).__name__}: {reason}",
            allowed="a dataset on the Hub, a directory of csv, json or parquet files, or one "
            "written by save_to_disk",
        ) from error
    return {"train": dataset} if isinstance(dataset, datasets.Dataset) else dataset


def named_rows(part: Any) -> Iterator[dict[str, Any]]:
    """The rows of one split, with the names of integer labels where the dataset has names."""
    names = {column: _class_names(feature) for column, feature in part.features.items()}
    for row in part:
        yield {column: _named(value, names[column]) for column, value in row.items()}


def _class_names(feature: Any) -> list[str] | None:
    """Names of an integer label, or of the labels in a list."""
    inner = getattr(feature, "feature", feature)
    inner = inner[0] if isinstance(inner, list) else inner
    return getattr(inner, "names", None)


def _named(value: Any, names: list[str] | None) -> Any:
    if names is None or value is None:
        return value
    if isinstance(value, list):
        return [_named(item, names) for item in value]
    return names[value] if 0 <= value < len(names) else None  # -1: no label


def _add_words(
    reader: RowReader, config: DatasetsConfig, row: Mapping[str, Any], place: str, split: int
) -> None:
    """Add a row whose text is a list of words and whose labels are lists of the same length."""
    lists: dict[str, Any] = {f: row.get(column) for f, column in reader.labels.items()}
    words: Any = row.get(str(config.tokens))
    for key, items in (("tokens", words), *((f"labels.{f}", items) for f, items in lists.items())):
        if not isinstance(items, list) or len(items) != len(words):
            raise UserError(
                f"corpus.{key}: {place} has no list of one value a word there",
                allowed=", ".join(name for name, value in row.items() if isinstance(value, list)),
            )
    text, starts = join_words(words, config.join)
    if is_blank(text):
        reader.skipped["text"] += 1
        return
    group = reader.group_of(row, place) or text
    example = reader.builder.add_text(text, group=group, split=split)
    for place_in_row, (position, word) in enumerate(zip(starts, words, strict=True)):
        values = {feature: items[place_in_row] for feature, items in lists.items()}
        named = {
            feature: None
            if is_missing(value)
            else entity_type(str(value))
            if config.bio
            else str(value)
            for feature, value in values.items()
        }
        if word.strip():
            reader.builder.add_unit(example, position, position + len(word), "word", named)
