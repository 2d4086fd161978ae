"""Finished runs that keep their parts (``keep_parts=true``): whether together they are one run.

Parts depend on no other, so runs that differ in ``layers`` or ``features`` alone, as jobs of a
sweep do, hold the parts of the run of all of their layers and features.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from probes.activations.layout import ROWS
from probes.core.claims import AtWork, holder
from probes.core.errors import UserError
from probes.core.files import digest, read_json, sync_tree, write_atomically
from probes.core.records import from_json
from probes.pipeline.identity import MACHINE
from probes.pipeline.sharded_fits import PARTS, difference
from probes.results.integrity import DIGEST, FILES, NO_DIGESTS, check_seal, damaged, sealed
from probes.results.record import is_finished
from probes.training.problems import ActivationSource

RECORD = "kept.json"
"""In the directory of the parts."""
JOINED = ("layers", "features")
"""Settings in which runs that are joined may differ."""


@dataclass(frozen=True)
class KeptParts:
    """All of ``parts/kept.json``."""

    identity: dict[str, Any]
    """All that may change the results of the fits."""
    layers: list[int]
    features: list[str]
    activations: dict[str, str]
    """Hashes of what was read: ``<site> <probe>/<file>``."""
    parts: list[str]
    """Names of the files of the parts."""


@dataclass(frozen=True)
class JoinedRuns:
    """Runs that are parts of one, each part once."""

    directories: tuple[Path, ...]
    records: tuple[KeptParts, ...]
    stored_only = False
    """Activations of all layers are extracted where there are only those of some."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Of the fits of all of them, but for layers and features."""
        return self.records[0].identity

    @property
    def layers(self) -> list[int]:
        """Of all of them."""
        return sorted({layer for record in self.records for layer in record.layers})

    @property
    def features(self) -> list[str]:
        """Of all of them, in their order."""
        return list(dict.fromkeys(name for record in self.records for name in record.features))

    def files(self, suffix: str) -> Iterator[tuple[Path, Mapping[str, Any]]]:
        """The files of all parts with this ending, with the identity of the fits beside each."""
        for directory, record in zip(self.directories, self.records, strict=True):
            for name in record.parts:
                if name.endswith(suffix):
                    yield directory / PARTS / name, record.identity

    def require_same_run(
        self, identity: Mapping[str, Any], sources: Sequence[ActivationSource]
    ) -> None:
        """Refuse parts that are not of a run.

        identity, sources: of the run.

        Raises:
            UserError: other settings, texts or weights, or numbers in the activations that differ.
        """
        ours = comparable(json.loads(json.dumps(identity)), without=MACHINE)
        now = activation_hashes(sources)
        for directory, record in zip(self.directories, self.records, strict=True):
            theirs = comparable(record.identity, without=MACHINE)
            if theirs != ours:
                raise UserError(
                    f"{directory} is not of this run: they differ in {difference(theirs, ours)}",
                    fix="the files that the jobs were started with",
                )
            for name, value in record.activations.items():
                if now.get(name, value) != value:
                    raise UserError(
                        f"{directory} was fitted on other activations ({name})",
                        fix="the cache_dir and the kind of processor that the jobs had",
                    )


def write_kept(
    directory: Path,
    identity: Mapping[str, Any],
    layers: Sequence[int],
    features: Sequence[str],
    sources: Sequence[ActivationSource],
    parts: Sequence[str],
) -> None:
    """Say in the directory of the parts what they are of; they survive a power cut."""
    hashes = activation_hashes(sources)
    record = KeptParts(
        dict(identity), sorted(set(layers)), list(features), hashes, sorted(set(parts))
    )
    content = sealed(json.loads(json.dumps(asdict(record))), NO_DIGESTS)
    write_atomically(directory / RECORD, json.dumps(content, indent=1) + "\n")
    sync_tree(directory)


def read_kept(run_dir: Path) -> KeptParts:
    """What the parts of a finished run are of.

    Raises:
        AtWork: a process is still at work on the run.
        UserError: the run is not finished, keeps no parts, or the record is damaged.
    """
    if user := holder(run_dir):
        raise AtWork(f"still running: {run_dir} ({user})", fix="the same command when it has ended")
    if not is_finished(run_dir):
        raise UserError(
            f"{run_dir}: no finished run", fix="the command that it was begun with, again"
        )
    path = run_dir / PARTS / RECORD
    if not path.is_file():
        raise UserError(
            f"{run_dir} keeps no parts, so it cannot be joined with others",
            fix="keep_parts=true in its command, with another directory",
        )
    content = read_json(path)
    check_seal(content, path)
    known = {key: value for key, value in content.items() if key not in (DIGEST, FILES)}
    record = from_json(KeptParts, known, where=str(path))
    if any("/" in name or name.startswith(".") for name in record.parts):
        raise damaged(path, "it names files of other directories")
    for name in record.parts:
        if not (run_dir / PARTS / name).is_file():
            raise damaged(run_dir / PARTS / name, "no such file")
    return record


def join(directories: Sequence[Path]) -> JoinedRuns:
    """The runs in these directories.

    Raises:
        UserError: one is not finished, of another run, or the same layer and feature is in two of
            them or in none.
    """
    records = {path: read_kept(path) for path in dict.fromkeys(directories)}
    first_path, first = next(iter(records.items()))
    owners: dict[tuple[str, int], Path] = {}
    for path, record in records.items():
        theirs, ours = comparable(record.identity), comparable(first.identity)
        if theirs != ours:
            raise UserError(
                f"{path} and {first_path} are not of one run: they differ in "
                f"{difference(theirs, ours)}",
                allowed="runs that differ in layers or features alone",
            )
        for feature in record.features:
            for layer in record.layers:
                other = owners.setdefault((feature, layer), path)
                if other != path:
                    raise UserError(
                        f"layer {layer} of {feature} is in {other} and in {path}",
                        allowed="each layer of a feature once",
                    )
    joined = JoinedRuns(tuple(records), tuple(records.values()))
    for feature in joined.features:
        missing = [str(layer) for layer in joined.layers if (feature, layer) not in owners]
        if missing:
            layers = ",".join(missing)
            raise UserError(
                f"{feature} in layer {layers} is in none of these runs",
                fix=f"a job with features=[{feature}] layers=[{layers}] beside them",
            )
    return joined


def comparable(identity: Mapping[str, Any], *, without: Sequence[str] = ()) -> dict[str, Any]:
    """An identity without what runs that are joined may differ in."""
    kept = {key: v for key, v in identity.items() if key not in ("activations", *without)}
    settings = kept.get("settings", {})
    return {**kept, "settings": {k: v for k, v in settings.items() if k not in JOINED}}


def activation_hashes(sources: Sequence[ActivationSource]) -> dict[str, str]:
    """Hashes of the files that are read, by site, probe and file."""
    hashes = {}
    for source in sources:
        files, name = source.cache.manifest["files"], f"{source.site} {source.probe}".strip()
        for file in (ROWS, *(layer.file for layer in source.cache.layers)):
            hashes[f"{name}/{file}"] = digest(files[file])
    return hashes
