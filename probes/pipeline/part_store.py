"""Results of the parts of a run's fits, each in a file of its own as soon as it is there.

A run that was killed goes on with them, and several processes that share the fits leave them for
``headprobes merge``.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from probes.core.files import digest
from probes.evaluation.part_result import PartResult, part_bytes, read_part
from probes.pipeline.identity import MACHINE, Settings
from probes.pipeline.kept_parts import RECORD as KEPT
from probes.pipeline.merged import Merged
from probes.pipeline.sharded_fits import PARTS
from probes.pipeline.stored_parts import StoredParts
from probes.training.parts import Part

SUFFIX = ".part"


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
        self.merged = merged
        self._files = StoredParts(
            self.directory, SUFFIX, identity, decode=read_part, again="fitted"
        )

    @property
    def nodes(self) -> set[str]:
        """The kinds of processors of all parts that were loaded or saved."""
        return self._files.nodes

    def save(self, result: PartResult) -> None:
        """Store one result."""
        raw = part_bytes(result, self._files.about(self.node))
        self._files.write(part_file(result.part), raw, self.node)

    def accept(self, raw: bytes) -> None:
        """Store a result that another process has fitted, as ``part_bytes`` gives it.

        Raises:
            UserError: the bytes are damaged, or of other fits.
        """
        result = self._files.decoded(raw, self.directory / "received")
        self._files.write(part_file(result.part), raw)

    def load(self) -> dict[Part, PartResult]:
        """All that is stored of these fits.

        What is damaged or of other fits is removed from the own directory, and refused in those of
        shards.

        Raises:
            UserError: a part of a shard is damaged or of other fits.
        """
        stored = {result.part: result for _, result in self._files.usable()}
        for path, identity in self.merged.files(SUFFIX) if self.merged is not None else ():
            result = self._files.read(path, identity)
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

    def remove(self) -> None:
        """Remove what is stored, when the run is finished."""
        (self.directory / KEPT).unlink(missing_ok=True)
        self._files.remove()


def part_file(part: Part) -> str:
    """A file name that says the layer, and differs between parts."""
    return f"{part.layer:03d}-{digest(asdict(part))[:16]}{SUFFIX}"
