"""Effects of a run in files of their own as soon as they are measured, beside its fits.

A run that was killed goes on with them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from probes.core.files import digest
from probes.interventions.effect_parts import EffectPart
from probes.models.handle import Handle
from probes.pipeline.fit_identity import device_kind, fit_identity, node_name
from probes.pipeline.identity import Settings
from probes.pipeline.prepare import PreparedRun
from probes.pipeline.sharded_fits import PARTS
from probes.pipeline.stored_parts import StoredParts
from probes.results.checked_tensors import checked_bytes, read_checked

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
        self.node = node
        self.is_own = is_own
        self._files = StoredParts(
            run_dir / PARTS, SUFFIX, identity, decode=_decode, again="measured"
        )
        self._known = {path.name: path for path, _ in self._files.usable()}
        if self._known:
            log.info("%d parts of the effects were stored before", len(self._known))

    @property
    def nodes(self) -> set[str]:
        """The kinds of processors of all parts that were loaded or saved."""
        return self._files.nodes

    def load(self, part: EffectPart) -> Mapping[str, Tensor] | None:
        """What is stored of a part; None: nothing."""
        path = self._known.get(effect_file(part))
        return None if path is None else self._files.read(path)

    def save(self, part: EffectPart, values: Mapping[str, Tensor]) -> None:
        """Store one part."""
        content = {**self._files.about(self.node), "part": asdict(part)}
        tensors = {name: of.detach().cpu().contiguous() for name, of in values.items()}
        self._files.write(effect_file(part), checked_bytes(content, tensors), self.node)


def effect_store(prepared: PreparedRun, handle: Handle, run_dir: Path) -> EffectStore:
    """That of a run: of these texts with their answers, this model, and these settings."""
    identity = fit_identity(prepared, handle, [])
    identity["answers"] = prepared.corpus.answers_fingerprint
    gpu = device_kind(handle.device) == "cuda"
    return EffectStore(run_dir, identity, node_name("gpu" if gpu else "cpu"))


def remove_effects(run_dir: Path) -> None:
    """Remove what is stored, when the run is finished."""
    StoredParts(run_dir / PARTS, SUFFIX, {}, decode=_decode, again="measured").remove()


def effect_file(part: EffectPart) -> str:
    """A file name that says method and layer, and differs between parts."""
    return f"{part.method}-{part.layer:03d}-{digest(asdict(part))[:16]}{SUFFIX}"


def _decode(raw: bytes, path: Path) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
    content, tensors = read_checked(raw, path)
    return tensors, content
