"""``run.json``: what a run was, in one record that reports, loggers and analysis read.

The pipeline fills the record in and writes it; everything that is shown in addition to the numbers
comes from here. Fields a newer version has added are ignored with a warning, so that old code reads
new runs; a record without its required fields, or of another schema, is refused.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from probes.core.errors import UserError
from probes.core.files import read_json, write_atomically
from probes.core.records import finite, from_json
from probes.results.findings import BestUnit, EstimateQuality, MapTestSummary
from probes.results.integrity import (
    DIGEST,
    RUN_FILES,
    FileDigest,
    check_seal,
    damaged,
    file_digests,
    has_content,
    read_checked,
    sealed,
)
from probes.results.steered import SteeringRecord

SCHEMA = 1
RECORD = "run.json"
IDENTITY_FILE = "identity"
"""In ``.hydra/`` of a run: ``RunRecord.identity`` from its beginning on."""
PHASES = ("extract", "fit", "report")
"""Parts of a run that are timed one after another."""
LARGEST = 100_000
"""No model has as many layers, or heads in a layer."""


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
    """Class too rare to train on -> its units in all splits."""
    dropped_in_train: dict[str, int] = field(default_factory=dict)
    """The same classes -> their training units, which ``min_count`` is about; absent in old runs.
    """


@dataclass(frozen=True)
class MetricRecord:
    """How a metric of the user's own is called and read; the others are known."""

    label: str
    description: str = ""
    better: str = "higher"
    """Which values are good: higher or lower."""
    anchor: float | None = None
    """Where a head knows nothing; None: what always answering the majority class reaches."""
    anchor_label: str = "majority"


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
    metrics: dict[str, MetricRecord] = field(default_factory=dict)
    """Metrics of the user's own, by their name in the results."""
    steering: list[SteeringRecord] = field(default_factory=list)
    """What was steered; absent where nothing was."""
    estimates: list[EstimateQuality] = field(default_factory=list)
    """How well attribution orders heads beside exact effects; absent where not both are there."""
    files: dict[str, FileDigest] = field(default_factory=dict)
    """Size and SHA-256 of each file that is read back; set when the record is written."""
    identity: str = ""
    """Hash of all that changes the results, by which a sweep recognises its jobs; absent in old
    runs."""
    schema: int = SCHEMA

    @property
    def seconds(self) -> float:
        """What its extraction, fits and report took."""
        return float(sum(self.timings.get(f"{phase}_seconds", 0.0) for phase in PHASES))


def is_finished(directory: str | os.PathLike[str]) -> bool:
    """Whether the directory holds a finished run: ``run.json`` is written last.

    A file of no bytes, or of zeros only, is what a power cut can leave of one.
    """
    return has_content(Path(directory) / RECORD)


def write_record(record: RunRecord, path: str | os.PathLike[str]) -> None:
    """Write ``run.json``, complete or not at all, with checksums of the files beside it."""
    path = Path(path)
    content = finite(
        {
            **dataclasses.asdict(record),
            "best": [unit.to_json() for unit in record.best],
            "tests": [summary.to_json() for summary in record.tests],
        }
    )
    plain = json.loads(json.dumps(content, default=str, allow_nan=False))
    if not record.steering:  # as in the records of versions that could not steer
        del plain["steering"]
    if not record.estimates:
        del plain["estimates"]
    whole = sealed(plain, file_digests(path.parent, RUN_FILES))
    write_atomically(path, json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_record(path: str | os.PathLike[str]) -> RunRecord:
    """Read ``run.json`` back: plain JSON checked field by field, nothing is instantiated by name.

    Raises:
        UserError: missing or unreadable file, another schema, a field missing or of another type,
            impossible numbers, or content that differs from its checksum.
    """
    path = Path(path)
    content = read_json(path, fix="the directory of a finished run")
    if content.get("schema") != SCHEMA:
        raise UserError(f"{path}: schema {content.get('schema')!r}", allowed=str(SCHEMA))
    known = {key: value for key, value in content.items() if key != DIGEST}
    record = from_json(RunRecord, known, where=str(path))
    check_seal(content, path)
    for problem in impossible_in_record(record):
        raise damaged(path, problem)
    return record


def intact(directory: Path, record: RunRecord) -> None:
    """Check that a finished run has its files: the table by its checksum, the others by their size.

    Raises:
        UserError: the first that is missing or another.
    """
    for name, entry in record.files.items():
        path = directory / Path(name).name
        if name == "results.csv":
            read_checked(path, record.files)
        elif not path.is_file() or path.stat().st_size != entry.bytes:
            raise damaged(path, "it is missing, or of another size than its run wrote")


def impossible_in_record(record: RunRecord) -> Iterator[str]:
    """What no run can have: numbers below 0, layers without heads, counts without a class."""
    for stream in record.model.streams:
        if len(stream.layers) != len(stream.heads) or len(set(stream.layers)) < len(stream.layers):
            yield f"stream {stream.name} has other layers than head counts, or one twice"
        if not all(0 <= layer < LARGEST for layer in stream.layers):
            yield f"stream {stream.name} has an impossible layer"
        if not all(1 <= heads < LARGEST for heads in stream.heads):
            yield f"stream {stream.name} has a layer of an impossible number of heads"
    for feature, task in record.tasks.items():
        if any(len(counts) != len(task.classes) for counts in task.counts.values()):
            yield f"'{feature}' has other counts than classes"
        counts = [n for counts in task.counts.values() for n in counts]
        if min([*counts, *task.groups.values(), *task.dropped.values()], default=0) < 0:
            yield f"'{feature}' has counts below 0"
        if not 0 <= task.majority_accuracy <= 1:
            yield f"'{feature}' has a majority accuracy of {task.majority_accuracy}"
    for name, metric in record.metrics.items():
        if metric.better not in ("higher", "lower"):
            yield f"'{name}' is better where it is {metric.better}"
    corpus = record.corpus
    if min([record.rows, *corpus.examples.values(), *corpus.groups.values()]) < 0:
        yield "it has counts below 0"
