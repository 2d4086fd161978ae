"""``run.json``: what a run was, in one record that reports, loggers and analysis read.

The pipeline fills the record in and writes it; everything that is shown beside the numbers comes
from here. Fields a newer version has added are ignored with a warning, so that old code reads new
runs; a record without its required fields, or of another schema, is refused.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import types
import typing
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from probes.core.errors import UserError
from probes.results.findings import BestUnit, MapTestSummary

SCHEMA = 1


@dataclass(frozen=True)
class StreamRecord:
    """The heads of one stream of a model."""

    name: str
    """encoder, decoder or cross."""
    layers: list[int]
    """Index of each probed layer in its stream."""
    heads: list[int]
    """How many heads each of these layers has."""


def model_title(name: str) -> str:
    """The last part of a path; other names as they are.

    >>> model_title("~/models/stories260K/"), model_title("EleutherAI/pythia-160m")
    ('stories260K', 'EleutherAI/pythia-160m')
    """
    path = name.startswith(("/", "~", "."))
    return name.rstrip("/").rpartition("/")[2] or name if path else name


@dataclass(frozen=True)
class ModelRecord:
    """The model that was read."""

    name: str
    fingerprint: str
    """Hash of its configuration and weights."""
    kind: str
    """encoder, decoder or encoder-decoder."""
    streams: list[StreamRecord]
    """The head map."""

    @property
    def title(self) -> str:
        """What headings call it: a directory by its last part, anything else by its name."""
        return model_title(self.name)


@dataclass(frozen=True)
class CorpusRecord:
    """The texts and how they were split."""

    name: str
    fingerprint: str
    """Hash of texts, labels, groups and splits."""
    group_name: str
    """What stays on one side of a split: document, question, ..."""
    examples: dict[str, int]
    """Texts in each split."""
    groups: dict[str, int]
    """Groups in each split."""
    split: str = ""
    """How the splits were made, in a sentence."""
    notes: list[str] = field(default_factory=list)
    """What reading left out or changed."""


@dataclass(frozen=True)
class TaskRecord:
    """One feature's labels on the rows that were probed."""

    level: str
    """word, span, sentence or answer."""
    classes: list[str]
    counts: dict[str, list[int]]
    """For each split the rows of each class, in the order of ``classes``."""
    groups: dict[str, int]
    """For each split the groups that its rows come from."""
    majority: str
    """Most frequent class of the training rows."""
    majority_accuracy: float
    """What always answering it scores on test."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Classes too rare to train on, with their rows."""


@dataclass(frozen=True)
class RunRecord:
    """All of ``run.json``."""

    version: str
    """Of this package."""
    created: str
    """ISO 8601 time at which the run began."""
    model: ModelRecord
    corpus: CorpusRecord
    tasks: dict[str, TaskRecord]
    """By feature."""
    config: dict[str, Any] = field(default_factory=dict)
    """The composed configuration."""
    environment: dict[str, Any] = field(default_factory=dict)
    """Versions, device, commit."""
    timings: dict[str, float] = field(default_factory=dict)
    """extract_seconds, fit_seconds, report_seconds."""
    rows: int = 0
    """Rows of the activation cache."""
    rows_per_second: float | None = None
    tokens_per_second: float | None = None
    """Of the extraction; None where the cache was reused."""
    peak_memory_bytes: int | None = None
    caches: dict[str, str] = field(default_factory=dict)
    """Site -> directory of its activations; relative ones start at the run directory."""
    caveats: list[str] = field(default_factory=list)
    """What a reader of these numbers must know, one sentence each."""
    best: list[BestUnit] = field(default_factory=list)
    """The best unit of each map."""
    tests: list[MapTestSummary] = field(default_factory=list)
    """What the tests of each map refute."""
    schema: int = SCHEMA


def write_record(record: RunRecord, path: str | os.PathLike[str]) -> None:
    """Write ``run.json`` under a temporary name, then rename."""
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    content = _without_nan(
        {
            **dataclasses.asdict(record),
            "best": [unit.to_json() for unit in record.best],
            "tests": [summary.to_json() for summary in record.tests],
        }
    )
    text = json.dumps(content, indent=2, ensure_ascii=False, default=str, allow_nan=False)
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path)


def read_record(path: str | os.PathLike[str]) -> RunRecord:
    """Read ``run.json`` back: plain JSON checked field by field, nothing is instantiated by name.

    Raises:
        UserError: missing or unreadable file, another schema, a field missing or of another type.
    """
    path = Path(path)
    content = read_json(path)
    if content.get("schema") != SCHEMA:
        raise UserError(f"{path}: schema {content.get('schema')!r}", allowed=str(SCHEMA))
    return typing.cast(RunRecord, _build(RunRecord, content, str(path)))


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; raises ``UserError`` if there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file", fix="the directory of a finished run") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: unreadable ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no JSON object")
    return content


def _without_nan(content: Any) -> Any:
    """Numbers that JSON does not have as null."""
    if isinstance(content, dict):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _build(cls: type, content: Any, where: str) -> Any:
    """An instance of the dataclass ``cls`` from a JSON object."""
    if not isinstance(content, dict):
        raise UserError(f"{where}: expected an object, found {content!r:.60}")
    hints = typing.get_type_hints(cls)
    unknown = [key for key in content if key not in hints]
    if "_target_" in unknown:
        raise UserError(f"{where}: names code to run ('_target_'); records hold data only")
    if unknown:
        warnings.warn(f"{where}: ignoring unknown keys {', '.join(unknown)}", stacklevel=4)
    missing = [
        f.name
        for f in dataclasses.fields(cls)
        if f.name not in content
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UserError(f"{where}: without {', '.join(missing)}")
    known = {key: value for key, value in content.items() if key in hints}
    return cls(**{key: _cast(hints[key], v, f"{where}: {key}") for key, v in known.items()})


def _cast(hint: Any, value: Any, where: str) -> Any:
    """``value`` if it is of the hinted type, with dataclasses built inside it."""
    origin, parameters = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, where)
    if origin is list and isinstance(value, list):
        return [_cast(parameters[0], item, where) for item in value]
    if origin is dict and isinstance(value, dict):
        return {key: _cast(parameters[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin is types.UnionType and value is None:
        return None
    if origin is types.UnionType:
        return _cast(parameters[0], value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Any or (origin is None and type(value) is hint):
        return value
    raise UserError(f"{where}: expected {getattr(hint, '__name__', hint)}, found {value!r:.60}")
