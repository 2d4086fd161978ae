"""Reading an offline W&B run back: records in a log of LevelDB's format."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
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
    assert raw[:4] == b":W&B" or not raw  # not written yet
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


@dataclass(frozen=True)
class LoggedArtifact:
    """An artifact as it waits to be sent."""

    name: str
    aliases: list[str]
    metadata: dict[str, Any]
    files: list[str]
    references: list[str]
    used: bool
    """By the run, which else has made it."""


def offline_logs(run_dir: Path) -> list[Path]:
    """The logs of the offline runs under ``run_dir``, in the order of their beginnings."""
    return sorted(run_dir.glob("wandb/offline-run-*/run-*.wandb"))


def read_back(run_dir: Path) -> dict[str, Any]:
    """What the one offline run under ``run_dir`` holds."""
    [log] = offline_logs(run_dir)
    return read_log(log)


def read_log(log: Path) -> dict[str, Any]:
    """What the log of an offline run holds."""
    deadline = time.monotonic() + 10  # the service may write its last record after it has answered
    while not any(r.HasField("exit") for r in records(log)) and time.monotonic() < deadline:
        time.sleep(0.05)
    found: dict[str, Any] = {"files": log.parent / "files", "rows": [], "exit": None}
    found |= {part: {} for part in ("config", "summary", "history", "artifacts", "metrics")}
    for record in records(log):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run  # without ``resume`` in older versions: ``wandb sync`` asks
            found |= {"group": run.run_group, "project": run.project, "entity": run.entity,
                      "tags": list(run.tags), "id": run.run_id, "name": run.display_name,
                      "job_type": run.job_type, "resume": getattr(run, "resume", True),
                      "sweep": run.sweep_id}  # fmt: skip
            found["config"] |= _items(run.config.update)
        elif kind == "config":
            found["config"] |= _items(record.config.update)
        elif kind == "summary":
            found["summary"] |= _items(record.summary.update)
        elif kind == "history":
            found["rows"].append(_items(record.history.item))
            found["history"] |= found["rows"][-1]
        elif kind == "metric":
            found["metrics"][record.metric.name] = record.metric.step_metric
        elif kind == "artifact":
            _add(record.artifact, found["artifacts"])
        elif kind == "request" and record.request.HasField("log_artifact"):
            _add(record.request.log_artifact.artifact, found["artifacts"])
        elif kind == "exit":
            found["exit"] = record.exit.exit_code
    return found


def _add(artifact: Any, found: dict[str, list[LoggedArtifact]]) -> None:
    entries = artifact.manifest.contents
    logged = LoggedArtifact(
        artifact.name,
        list(artifact.aliases),
        json.loads(artifact.metadata or "{}"),
        [entry.path for entry in entries if not entry.ref],
        [entry.ref for entry in entries if entry.ref],
        artifact.use_after_commit,
    )
    found.setdefault(artifact.type, []).append(logged)


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
