"""Results of the parts of a run's fits, each in a file of its own as soon as it is there.

A run that was killed goes on with them, and several processes that share the fits leave them for
``headprobes merge``. A file counts only where it is whole, and of the same fits.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from probes.core.errors import UserError
from probes.core.files import digest, write_atomically
from probes.evaluation.part_result import PartResult, part_bytes, read_part
from probes.pipeline.identity import MACHINE, Settings
from probes.pipeline.kept_parts import RECORD as KEPT
from probes.pipeline.sharded_fits import PARTS
from probes.results.integrity import damaged
from probes.training.parts import Part
from probes.training.problems import ActivationSource

log = logging.getLogger(__name__)

SUFFIX = ".part"


class Merged(Protocol):
    """Parts that other processes have fitted and that count as this run's."""

    @property
    def directories(self) -> tuple[Path, ...]:
        """Of the runs or shards that have left them."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Of their fits."""

    @property
    def stored_only(self) -> bool:
        """Whether the run is refused where its activations are not stored."""

    def files(self) -> Iterator[tuple[Path, Mapping[str, Any]]]:
        """The files of all parts, with the identity of each."""

    def require_same_run(
        self, identity: Mapping[str, Any], sources: Sequence[ActivationSource]
    ) -> None:
        """Refuse parts that are not of the run with this identity and these activations."""


class PartStore:
    """The parts that one process has fitted, in a directory that only it writes."""

    def __init__(
        self,
        run_dir: Path,
        identity: Settings,
        node: str,
        merged: Merged | None = None,
    ) -> None:
        """identity: all that may change the results. node: the kind of processor. merged: whose
        parts count as this run's.
        """
        self.run_dir = run_dir
        self.directory = run_dir / PARTS
        self.identity, self.node = identity, node
        self.nodes: set[str] = set()
        """Those of all parts that were loaded or saved."""
        self.merged = merged

    def save(self, result: PartResult) -> None:
        """Store one result.

        Not made durable: a power cut costs what was stored last, whose checksum then differs.
        """
        self.directory.mkdir(exist_ok=True)
        about = {"identity": digest(self.identity), "node": self.node}
        path = self.directory / part_file(result.part)
        write_atomically(path, part_bytes(result, about), durable=False)
        self.nodes.add(self.node)

    def accept(self, raw: bytes) -> None:
        """Store a result that another process has fitted, as ``part_bytes`` gives it.

        Raises:
            UserError: the bytes are damaged, or of other fits.
        """
        path = self.directory / "received"
        result, about = read_part(raw, path)
        if about.get("identity") != digest(self.identity):
            raise damaged(path, "it is of other settings")
        self.directory.mkdir(exist_ok=True)
        write_atomically(self.directory / part_file(result.part), raw, durable=False)

    def load(self) -> dict[Part, PartResult]:
        """All that is stored of these fits.

        What is damaged or of other fits is removed from the own directory, and refused in those of
        shards.

        Raises:
            UserError: a part of a shard is damaged or of other fits.
        """
        stored: dict[Part, PartResult] = {}
        for path in sorted(self.directory.glob(f"*{SUFFIX}")):
            try:
                result = self._read(path, self.identity)
            except UserError as error:
                log.info("%s; it is fitted again", error.wrong)
                path.unlink()
                continue
            stored[result.part] = result
        for path, identity in self.merged.files() if self.merged is not None else ():
            result = self._read(path, identity)
            stored[result.part] = result
        return stored

    def machines(self) -> dict[str, object]:
        """For the record: what the fits ran on, where it is not what this process runs on."""
        facts: dict[str, object] = {}
        if len(self.nodes) > 1:  # last bits of their results may differ
            facts["processors"] = sorted(self.nodes)
        if self.merged is not None:
            theirs = {name: self.merged.identity[name] for name in MACHINE}
            if theirs != {name: self.identity[name] for name in MACHINE}:
                facts["fitted_with"] = theirs
        return facts

    def _read(self, path: Path, identity: Mapping[str, Any]) -> PartResult:
        result, about = read_part(path.read_bytes(), path)
        if about.get("identity") != digest(identity):
            raise damaged(path, "it is of other settings")
        self.nodes.add(str(about.get("node")))
        return result

    def remove(self) -> None:
        """Remove what is stored, when the run is finished."""
        for path in (*self.directory.glob(f"*{SUFFIX}"), self.directory / KEPT):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not there, or with files of somebody else
            self.directory.rmdir()


def part_file(part: Part) -> str:
    """A file name that says the layer, and differs between parts."""
    return f"{part.layer:03d}-{digest(asdict(part))[:16]}{SUFFIX}"
