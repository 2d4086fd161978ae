"""``run.json``: what a run was, in one record that reports, loggers and analysis read.

The pipeline fills the record in and writes it; everything that is shown in addition to the numbers
comes from here. Fields a newer version has added are ignored with a warning, so that old code reads
new runs; a record without its required fields, or of another schema, is refused.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from probes.core.errors import UserError
from probes.core.files import read_json, write_atomically
from probes.core.records import finite, from_json
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
    """Versions of Python and of libraries, system, device."""
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
    """Write ``run.json``: complete or not at all."""
    content = finite(
        {
            **dataclasses.asdict(record),
            "best": [unit.to_json() for unit in record.best],
            "tests": [summary.to_json() for summary in record.tests],
        }
    )
    text = json.dumps(content, indent=2, ensure_ascii=False, default=str, allow_nan=False)
    write_atomically(Path(path), text + "\n")


def read_record(path: str | os.PathLike[str]) -> RunRecord:
    """Read ``run.json`` back: plain JSON checked field by field, nothing is instantiated by name.

    Raises:
        UserError: missing or unreadable file, another schema, a field missing or of another type.
    """
    path = Path(path)
    content = read_json(path, fix="the directory of a finished run")
    if content.get("schema") != SCHEMA:
        raise UserError(f"{path}: schema {content.get('schema')!r}", allowed=str(SCHEMA))
    return from_json(RunRecord, content, where=str(path))
