"""What the shards of a run leave, and whether together they are one run.

A shard works in a directory of its own below the run's, ``shard_000_of_002``, and writes
``shard.json`` there when its parts of fits and effects are done.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probes.core.claims import AtWork, holder
from probes.core.errors import UserError
from probes.core.files import read_json, write_atomically
from probes.core.records import from_json
from probes.passes.shards import Shard
from probes.pipeline.identity import MACHINE
from probes.results.integrity import DIGEST, FILES, NO_DIGESTS, check_seal, damaged, sealed

if TYPE_CHECKING:
    from probes.training.problems import ActivationSource

RECORD = "shard.json"
PARTS = "parts"
"""Directory of the results of parts, in that of a run or shard that is not finished."""


@dataclass(frozen=True)
class ShardRecord:
    """All of ``shard.json``."""

    index: int
    count: int
    identity: dict[str, Any]
    """All that may change the results of the fits."""
    parts: list[str]
    """Names of the files of its own parts, of fits and effects."""
    plan: list[str]
    """Those of all shards."""


@dataclass(frozen=True)
class ShardedFits:
    """The shards of one run, all of them and each once."""

    directories: tuple[Path, ...]
    """By the number of the shard."""
    identity: Mapping[str, Any]
    """Of the fits of all of them."""
    stored_only = True
    """The activations are there: shards wait for each other's."""

    def files(self, suffix: str) -> Iterator[tuple[Path, Mapping[str, Any]]]:
        """The files of all parts with this ending, with the identity of the fits beside each.

        Raises:
            UserError: the record of a shard is damaged.
        """
        for directory in self.directories:
            for name in read_shard_record(directory).parts:
                if name.endswith(suffix):
                    yield directory / PARTS / name, self.identity

    def require_same_run(
        self, identity: Mapping[str, Any], sources: Sequence[ActivationSource]
    ) -> None:
        """Refuse parts that are not of a run; they may have been computed on another machine.

        identity, sources: of the run.

        Raises:
            UserError: other settings, texts, weights or activations.
        """
        ours = json.loads(json.dumps(identity))
        ours = {key: value for key, value in ours.items() if key not in MACHINE}
        theirs = {key: value for key, value in self.identity.items() if key not in MACHINE}
        if theirs != ours:
            raise UserError(
                f"{self.directories[0]} is not of this run: they differ in "
                f"{difference(theirs, ours)}",
                fix="the command and the files that the shards were started with",
            )


def shard_directory(run_dir: Path, shard: Shard) -> Path:
    """Where a shard of a run works."""
    return run_dir / f"shard_{shard.index:03d}_of_{shard.count:03d}"


def write_shard_record(record: ShardRecord, directory: Path) -> None:
    """Write ``shard.json``, which says that the shard is done."""
    content = sealed(json.loads(json.dumps(asdict(record))), NO_DIGESTS)
    write_atomically(directory / RECORD, json.dumps(content, indent=1) + "\n")


def read_shard_record(directory: Path) -> ShardRecord:
    """Read ``shard.json``.

    Raises:
        UserError: there is none, so the shard is not done, or it is damaged.
    """
    path = directory / RECORD
    content = read_json(path)
    check_seal(content, path)
    known = {key: value for key, value in content.items() if key not in (DIGEST, FILES)}
    record = from_json(ShardRecord, known, where=str(path))
    if not 0 <= record.index < record.count:
        raise damaged(path, f"it is shard {record.index} of {record.count}")
    if any("/" in name or name.startswith(".") for name in record.plan):
        raise damaged(path, "it names files of other directories")
    return record


def gather(directories: Sequence[Path]) -> ShardedFits:
    """The shards in, or below, these directories.

    Raises:
        AtWork: a process is still at work on one.
        UserError: there is none, one is missing, occurs twice or belongs to another run, or its
            files are not there.
    """
    found = [path.parent for given in directories for path in _records(given)]
    _refuse_running(directories, set(found))
    if not found:
        shown = ", ".join(map(str, directories))
        raise UserError(
            f"{shown}: no shard of a run is finished there",
            fix="the directory that the shards were given as hydra.run.dir",
        )
    records = {path: read_shard_record(path) for path in dict.fromkeys(found)}
    first_path, first = next(iter(records.items()))
    by_index: dict[int, Path] = {}
    for path, record in records.items():
        if record.count != first.count:
            raise UserError(
                f"{path} is one of {record.count} shards, {first_path} one of {first.count}",
                allowed="shards of one run",
            )
        if record.index in by_index:
            raise UserError(
                f"shard {record.index} of {record.count} occurs twice: {by_index[record.index]} "
                f"and {path}",
                allowed="each shard once",
            )
        by_index[record.index] = path
        if record.identity != first.identity:
            raise UserError(
                f"{path} is of another run than {first_path}: they differ in "
                f"{difference(record.identity, first.identity)}",
                allowed="shards of one run",
            )
    missing = [index for index in range(first.count) if index not in by_index]
    if missing:
        raise UserError(
            f"shard {', '.join(map(str, missing))} of {first.count} is not finished",
            fix=f"the command of the run with shard={missing[0]}/{first.count}",
        )
    _check_parts(records)
    ordered = tuple(by_index[index] for index in range(first.count))
    return ShardedFits(ordered, first.identity)


def difference(first: Mapping[str, Any], second: Mapping[str, Any], prefix: str = "") -> str:
    """The keys whose values differ, with both values, at most three of them.

    >>> difference({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}})
    'a.c (2 and 3)'
    """
    return ", ".join(_differing(first, second, prefix)[:3])


def _differing(first: Mapping[str, Any], second: Mapping[str, Any], prefix: str) -> list[str]:
    names: list[str] = []
    for key in dict.fromkeys([*first, *second]):
        one, other = first.get(key), second.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            names += _differing(one, other, f"{prefix}{key}.")
        elif one != other:
            names.append(f"{prefix}{key} ({one!s:.40} and {other!s:.40})")
    return names


def _records(directory: Path) -> list[Path]:
    own = directory / RECORD
    return [own] if own.is_file() else sorted(directory.glob(f"shard_*_of_*/{RECORD}"))


def _refuse_running(directories: Sequence[Path], done: Container[Path]) -> None:
    """Refuse to join shards of which some are still running."""
    shards = [path for g in directories for path in (g, *sorted(g.glob("shard_*_of_*")))]
    running = {path: holder(path) for path in shards if path not in done}
    users = [f"{path} ({user})" for path, user in running.items() if user]
    if users:
        raise AtWork(
            f"still running: {', '.join(users[:3])}{', ...' if len(users) > 3 else ''}",
            fix="the same command when they have ended",
        )


def _check_parts(records: Mapping[Path, ShardRecord]) -> None:
    """Each part of the plan is in one shard, and its file is there."""
    owners: dict[str, Path] = {}
    for path, record in records.items():
        for name in record.parts:
            if name in owners:
                raise damaged(path / RECORD, f"part {name} is in {owners[name]}, too")
            if not (path / PARTS / name).is_file():
                raise UserError(
                    f"{path / PARTS / name}: no such file",
                    fix=f"the command of the run with shard={record.index}/{record.count}",
                )
            owners[name] = path
        if len(record.plan) != len(set(record.plan)):
            raise damaged(path / RECORD, "its plan names a part twice")
    plan = next(iter(records.values())).plan
    for path, record in records.items():
        if sorted(record.plan) != sorted(plan) or not owners.keys() <= set(record.plan):
            raise damaged(path / RECORD, "its parts are not those of the other shards")
    missing = sorted(set(plan) - owners.keys())
    if missing:
        raise UserError(f"{len(missing)} parts are in no shard ({missing[0]}, ...)")
