"""What a W&B run makes and what it was made of: versions of probes, and references to the rest.

Activations and texts are never sent: they are named by their fingerprints, so that two runs that
read the same ones are seen to.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probes.core.secrets import holds_secret
from probes.reporting.tracking.description import RunDescription
from probes.reporting.tracking.names import artifact_name, collection_name
from probes.results.record import RunRecord

log = logging.getLogger(__name__)

FILES = ("probes.safetensors", "probes.json", "results.csv", "run.json")
TEXTS = (".json", ".csv", ".html")


@dataclass(frozen=True)
class Reference:
    """Something that a run was made of, by what it is known by."""

    name: str
    kind: str
    """Type of the artifact: ``corpus`` or ``activations``."""
    fingerprint: str
    """Equal for equal content."""
    about: Mapping[str, Any]

    def artifact(self) -> Any:
        """Without content: its one entry is an address that names the fingerprint."""
        import wandb

        made = wandb.Artifact(self.name, type=self.kind, metadata=dict(self.about))
        made.add_reference(
            f"headprobes-{self.kind}:{self.fingerprint}", name=self.kind, checksum=False
        )
        return made


def references(run: RunDescription, facts: Mapping[str, Any]) -> list[Reference]:
    """The corpus, and the activations of each kind of site, as far as they are known."""
    corpus = Reference(
        artifact_name("corpus", run.corpus),
        "corpus",
        run.corpus_fingerprint,
        {"corpus": run.corpus, "fingerprint": run.corpus_fingerprint},
    )
    found = [corpus]
    for site, about in facts.get("caches", {}).items():
        name = artifact_name("activations", run.model, run.corpus, site)
        found.append(Reference(name, "activations", str(about["key"]), about))
    return found


def use(run: Any, reference: Reference) -> None:
    """Declare that a W&B run was made of something.

    ``use_artifact`` refuses offline runs, though what it does first is kept for ``wandb sync``.
    """
    aliases = ["latest", reference.fingerprint[:16]]
    artifact = reference.artifact()
    if not run.offline:
        run.use_artifact(artifact, aliases=aliases)
    elif hasattr(run, "_log_artifact"):
        run._log_artifact(artifact, aliases=aliases, is_user_created=True, use_after_commit=True)


def probes_artifact(
    run: RunDescription,
    record: RunRecord,
    numbers: Mapping[str, float],
    secrets: Sequence[str],
) -> Any:
    """The probes of a finished run with its table and record; a version of their collection."""
    import wandb

    artifact = wandb.Artifact(
        collection_name(run),
        type="probes",
        metadata={
            "model": record.model.title,
            "model_fingerprint": record.model.fingerprint,
            "corpus": record.corpus.name,
            "corpus_fingerprint": record.corpus.fingerprint,
            "features": list(run.features),
            "methods": list(run.methods),
            "identity": run.identity,
            "version": record.version,
            **{name: value for name, value in numbers.items() if not name.startswith("time/")},
        },
    )
    for name in FILES:
        path = run.directory / name
        if path.is_file() and may_be_sent(path, secrets):
            # Immutable: the files stay where they are, no second copy in the user's home.
            artifact.add_file(str(path), policy="immutable", skip_cache=True)
    return artifact


def may_be_sent(path: Path, secrets: Sequence[str]) -> bool:
    """Whether a file of the run directory has nothing in it that looks secret."""
    if path.suffix not in TEXTS or not holds_secret(path.read_bytes(), secrets):
        return True
    log.warning("W&B: %s is not sent: it holds what looks like a password or a key", path.name)
    return False
