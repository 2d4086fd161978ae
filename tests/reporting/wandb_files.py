"""Reading an offline W&B run back: records in a log of LevelDB's format."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HEADER, BLOCK = 7, 32768


def records(path: Path) -> Iterator[Any]:
    """The protocol-buffer records of a ``run-*.wandb`` file, in order.

    After 7 bytes of file header come blocks of 32 KiB; a record is one piece, or pieces over
    several blocks (first, middle, last), each after checksum (4), length (2) and kind (1).
    """
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    raw = path.read_bytes()
    assert raw[:4] == b":W&B"
    at, pieces = HEADER, []
    while at + 7 <= len(raw):
        left = BLOCK - at % BLOCK
        if left < 7:
            at += left
            continue
        length, kind = int.from_bytes(raw[at + 4 : at + 6], "little"), raw[at + 6]
        pieces.append(raw[at + 7 : at + 7 + length])
        at += 7 + length
        if kind in (1, 4):  # whole, or last piece
            record = Record()
            record.ParseFromString(b"".join(pieces))
            pieces = []
            yield record


def read_back(run_dir: Path) -> dict[str, Any]:
    """What the one offline run under ``run_dir`` holds."""
    [log] = run_dir.glob("wandb/offline-run-*/run-*.wandb")
    deadline = time.monotonic() + 10  # the service may write its last record after it has answered
    while not any(r.HasField("exit") for r in records(log)) and time.monotonic() < deadline:
        time.sleep(0.05)
    found: dict[str, Any] = {"config": {}, "summary": {}, "history": {}, "artifacts": {},
                             "files": log.parent / "files", "exit": None}  # fmt: skip
    for record in records(log):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found["group"], found["project"] = record.run.run_group, record.run.project
            found["tags"], found["id"] = list(record.run.tags), record.run.run_id
            found["config"] |= _items(record.run.config.update)
        elif kind == "config":
            found["config"] |= _items(record.config.update)
        elif kind == "summary":
            found["summary"] |= _items(record.summary.update)
        elif kind == "history":
            found["history"] |= _items(record.history.item)
        elif kind == "artifact":
            names = [entry.path for entry in record.artifact.manifest.contents]
            found["artifacts"][record.artifact.type] = (record.artifact.name, names)
        elif kind == "request" and record.request.HasField("log_artifact"):
            artifact = record.request.log_artifact.artifact
            names = [entry.path for entry in artifact.manifest.contents]
            found["artifacts"][artifact.type] = (artifact.name, names)
        elif kind == "exit":
            found["exit"] = record.exit.exit_code
    return found


def _items(items: Any) -> dict[str, Any]:
    """Values by key; nested keys as dictionaries in dictionaries."""
    found: dict[str, Any] = {}
    for item in items:
        *outer, last = list(item.nested_key) or [item.key]
        place = found
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = json.loads(item.value_json)
    return found
