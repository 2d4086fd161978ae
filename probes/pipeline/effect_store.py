"""Effects of a run in files of their own as soon as they are measured, beside its fits.

A run that was killed goes on with them, and several processes that share the effects leave them for
``headprobes merge``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from probes.core.files import digest
from probes.corpora.corpus import Corpus
from probes.interventions.effect_parts import EffectPart, PlannedEffect
from probes.models.handle import Handle
from probes.pipeline.effect_share import EffectShare
from probes.pipeline.fit_identity import device_kind, node_name
from probes.pipeline.identity import Settings
from probes.pipeline.merged import Merged
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
        merged: Mapping[Path, Settings] | None = None,
        share: EffectShare | None = None,
    ) -> None:
        """identity: all that may change the effects. node: the kind of processor. merged: files of
        other processes that count as this run's, with their identities. share: what this process
        measures; None: all.

        Raises:
            UserError: a file of another process is damaged, or of other settings.
        """
        self.node, self.share = node, share
        self._files = StoredParts(
            run_dir / PARTS, SUFFIX, identity, decode=_decode, again="measured"
        )
        self._known = {path.name: (path, identity) for path, _ in self._files.usable()}
        if self._known:
            log.info("%d parts of the effects were stored before", len(self._known))
        for path, theirs in (merged or {}).items():
            self._files.read(path, theirs)
            self._known[path.name] = path, theirs

    @property
    def nodes(self) -> set[str]:
        """The kinds of processors of all parts that were loaded or saved."""
        return self._files.nodes

    def plan(self, planned: Sequence[PlannedEffect]) -> None:
        """Deal out what is measured next."""
        if self.share is not None:
            self.share.add(planned)

    def is_own(self, part: EffectPart) -> bool:
        """Whether this process measures a part that is not stored."""
        return self.share is None or self.share.has(part)

    def load(self, part: EffectPart) -> Mapping[str, Tensor] | None:
        """What is stored of a part; None: nothing."""
        name = effect_file(part)
        return self._files.read(*self._known[name]) if name in self._known else None

    def save(self, part: EffectPart, values: Mapping[str, Tensor]) -> None:
        """Store one part."""
        raw = effect_bytes(part, values, self._files.about(self.node))
        self._files.write(effect_file(part), raw, self.node)

    @property
    def identity(self) -> Settings:
        """All that may change the effects."""
        return dict(self._files.identity)

    @property
    def names(self) -> frozenset[str]:
        """The files of all parts that are stored."""
        return frozenset(self._known)

    def accept(self, name: str, raw: bytes) -> None:
        """Store a part that another process has measured, as ``effect_bytes`` gives it.

        Raises:
            UserError: the bytes are damaged, or of other settings.
        """
        path = self._files.directory / name
        self._files.decoded(raw, path)
        self._files.write(name, raw)
        self._known[name] = path, self.identity


def effect_store(
    prepared: PreparedRun,
    handle: Handle,
    run_dir: Path,
    fits: Settings,
    *,
    merged: Merged | None = None,
    share: EffectShare | None = None,
) -> EffectStore:
    """That of a run: of these texts with their answers, this model, and these settings.

    fits: the identity of its fits. merged: whose parts count as this run's. share: see
    ``EffectStore``.
    """
    others = merged.files(SUFFIX) if merged is not None else ()
    return EffectStore(
        run_dir,
        effect_identity(fits, prepared.corpus),
        node_of(handle),
        {path: effect_identity(theirs, prepared.corpus) for path, theirs in others},
        share,
    )


def effect_identity(fits: Mapping[str, Any], corpus: Corpus) -> Settings:
    """Whatever may change a bit of the effects; not the activations, which they do not read.

    fits: see ``fit_identity``.
    """
    return {**fits, "activations": {}, "answers": corpus.answers_fingerprint}


def node_of(handle: Handle) -> str:
    """The kind of processor that the model's passes run on."""
    return node_name("gpu" if device_kind(handle.device) == "cuda" else "cpu")


def remove_effects(run_dir: Path) -> None:
    """Remove what is stored, when the run is finished."""
    StoredParts(run_dir / PARTS, SUFFIX, {}, decode=_decode, again="measured").remove()


def effect_file(part: EffectPart) -> str:
    """A file name that says method and layer, and differs between parts."""
    return f"{part.method}-{part.layer:03d}-{digest(asdict(part))[:16]}{SUFFIX}"


def effect_bytes(part: EffectPart, values: Mapping[str, Tensor], about: Mapping[str, str]) -> bytes:
    """The content of a file; equal values give equal bytes.

    about: identity and node, as in ``StoredParts.about``.
    """
    tensors = {name: of.detach().cpu().contiguous() for name, of in values.items()}
    return checked_bytes({**about, "part": asdict(part)}, tensors)


def _decode(raw: bytes, path: Path) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
    content, tensors = read_checked(raw, path)
    return tensors, content
