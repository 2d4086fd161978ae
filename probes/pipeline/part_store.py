"""Results of the parts of a run's fits, each in a file of its own as soon as it is there.

A run that was killed goes on with them, and several processes that share the fits leave them for
``headprobes merge``. A file counts only where it is whole, and of the same fits.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import asdict
from pathlib import Path

from probes.core.errors import UserError
from probes.core.files import digest, write_atomically
from probes.evaluation.part_result import PartResult, part_bytes, read_part
from probes.training.parts import Part

log = logging.getLogger(__name__)

PARTS = "parts"
"""In a run directory that is not finished."""
SUFFIX = ".part"


class PartStore:
    """The parts that one process has fitted, in a directory that only it writes."""

    def __init__(self, run_dir: Path, identity: object, node: str) -> None:
        """identity: JSON value of all that may change the results. node: the kind of processor."""
        self.directory = run_dir / PARTS
        self.identity, self.node = digest(identity), node
        self.nodes: set[str] = set()
        """Those of all parts that were loaded or saved."""

    def save(self, result: PartResult) -> None:
        """Store one result.

        Not made durable: a power cut costs what was stored last, whose checksum then differs.
        """
        self.directory.mkdir(exist_ok=True)
        about = {"identity": self.identity, "node": self.node}
        path = self.directory / _name(result.part)
        write_atomically(path, part_bytes(result, about), durable=False)
        self.nodes.add(self.node)

    def load(self) -> dict[Part, PartResult]:
        """All that is stored of these fits; what is damaged or of other fits is removed."""
        stored: dict[Part, PartResult] = {}
        for path in sorted(self.directory.glob(f"*{SUFFIX}")):
            try:
                result, about = read_part(path.read_bytes(), path)
            except UserError:
                log.info("%s is unreadable: fitted again", path)
                path.unlink()
                continue
            if about.get("identity") != self.identity:
                log.info("%s is of other settings: fitted again", path)
                path.unlink()
                continue
            stored[result.part] = result
            self.nodes.add(str(about.get("node")))
        return stored

    def mixed_nodes(self) -> dict[str, list[str]]:
        """The kinds of processors that the parts were fitted on, where there are several: last
        bits of their results may differ."""
        return {"processors": sorted(self.nodes)} if len(self.nodes) > 1 else {}

    def remove(self) -> None:
        """Remove what is stored, when the run is finished."""
        for path in self.directory.glob(f"*{SUFFIX}"):
            path.unlink()
        with contextlib.suppress(OSError):  # not there, or with files of somebody else
            self.directory.rmdir()


def _name(part: Part) -> str:
    """A file name that says the layer, and differs between parts."""
    return f"{part.layer:03d}-{digest(asdict(part))[:16]}{SUFFIX}"
