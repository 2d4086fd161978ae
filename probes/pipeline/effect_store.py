"""Effects of a run in files of their own as soon as they are measured, beside its fits.

A run that was killed goes on with them. A file counts only where it is whole, and of the same run.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from probes.core.errors import UserError
from probes.core.files import digest, write_atomically
from probes.interventions.effect_parts import EffectPart
from probes.models.handle import Handle
from probes.pipeline.fit_identity import device_kind, fit_identity, node_name
from probes.pipeline.identity import Settings
from probes.pipeline.prepare import PreparedRun
from probes.pipeline.sharded_fits import PARTS
from probes.results.checked_tensors import checked_bytes, read_checked
from probes.results.integrity import damaged

log = logging.getLogger(__name__)

SUFFIX = ".effect"


class EffectStore:
    """The parts of the effects that one process has measured, in a directory that only it writes.

    Everything that is special to a method stands in its parts' names; ``identity`` is what all of
    them share, so that a file of another seed, text or model is measured again.
    """

    def __init__(
        self,
        run_dir: Path,
        identity: Settings,
        node: str,
        is_own: Callable[[EffectPart], bool] = lambda part: True,
    ) -> None:
        """identity: all that may change the effects. node: the kind of processor. is_own: which
        parts this process measures."""
        self.directory = run_dir / PARTS
        self.identity, self.node = digest(identity), node
        self.is_own = is_own
        self.nodes: set[str] = set()
        """Those of all parts that were loaded or saved."""
        self._known = set(self._usable())
        if self._known:
            log.info("%d parts of the effects were stored before", len(self._known))

    def load(self, part: EffectPart) -> Mapping[str, Tensor] | None:
        """What is stored of a part; None: nothing."""
        name = effect_file(part)
        if name not in self._known:
            return None
        return self._read(self.directory / name)

    def save(self, part: EffectPart, values: Mapping[str, Tensor]) -> None:
        """Store one part.

        Not made durable: a power cut costs what was stored last, whose checksum then differs.
        """
        self.directory.mkdir(exist_ok=True)
        content = {"identity": self.identity, "node": self.node, "part": asdict(part)}
        tensors = {name: of.detach().cpu().contiguous() for name, of in values.items()}
        raw = checked_bytes(content, tensors)
        write_atomically(self.directory / effect_file(part), raw, durable=False)
        self.nodes.add(self.node)

    def _usable(self) -> list[str]:
        """Names of the files that are whole and of this run; the others are removed."""
        usable = []
        for path in sorted(self.directory.glob(f"*{SUFFIX}")):
            try:
                self._read(path)
            except UserError as error:
                log.info("%s; it is measured again", error.wrong)
                path.unlink()
                continue
            usable.append(path.name)
        return usable

    def _read(self, path: Path) -> Mapping[str, Tensor]:
        content, tensors = read_checked(path.read_bytes(), path)
        if content.get("identity") != self.identity:
            raise damaged(path, "it is of other settings")
        self.nodes.add(str(content.get("node")))
        return tensors


def effect_store(prepared: PreparedRun, handle: Handle, run_dir: Path) -> EffectStore:
    """That of a run: of these texts with their answers, this model, and these settings."""
    identity = fit_identity(prepared, handle, [])
    identity["answers"] = prepared.corpus.answers_fingerprint
    gpu = device_kind(handle.device) == "cuda"
    return EffectStore(run_dir, identity, node_name("gpu" if gpu else "cpu"))


def remove_effects(run_dir: Path) -> None:
    """Remove what is stored, when the run is finished."""
    directory = run_dir / PARTS
    for path in directory.glob(f"*{SUFFIX}"):
        path.unlink()
    with contextlib.suppress(OSError):  # not there, or with files of somebody else
        directory.rmdir()


def effect_file(part: EffectPart) -> str:
    """A file name that says method and layer, and differs between parts."""
    return f"{part.method}-{part.layer:03d}-{digest(asdict(part))[:16]}{SUFFIX}"
