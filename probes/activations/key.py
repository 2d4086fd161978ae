"""The name of a cache: a hash of everything that changes its numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from probes.activations.cache import Cache
from probes.activations.layout import (
    MANIFEST,
    SCHEMA_VERSION,
    damaged,
    layers_of,
    read_manifest,
)
from probes.config import ExtractionConfig, PositionConfig
from probes.core.errors import UserError
from probes.core.files import digest
from probes.corpora.corpus import Corpus
from probes.models.handle import Handle


@dataclass(frozen=True)
class CacheKey:
    """What a cache holds, known without running or loading the model."""

    fields: dict[str, Any]
    """Everything that changes the numbers; layers come apart from it."""
    layers: tuple[int, ...] | None
    """The layers stored; None: all."""

    @property
    def name(self) -> str:
        """Name of the directory. Caches of some layers only begin with the name of the whole."""
        whole = digest(self.fields)[:20]
        return whole if self.layers is None else f"{whole}-{digest(self.layers)[:8]}"

    def find(self, cache_dir: Path) -> Cache | None:
        """A finished cache that holds the layers asked for: this one, the whole, or another.

        Raises:
            UserError: where this cache or the whole is damaged.
        """
        wanted = None if self.layers is None else list(self.layers)
        whole = CacheKey(self.fields, None).name
        others = sorted(path.name for path in cache_dir.glob(f"{whole}-*") if not path.suffix)
        for name in dict.fromkeys([self.name, whole, *others]):
            directory = cache_dir / name
            if not directory.is_dir():
                continue
            try:
                manifest = read_manifest(directory)
            except UserError:
                if name in (self.name, whole):
                    raise
                continue
            stored = manifest["fields"]
            if any(stored.get(field) != value for field, value in self.fields.items()):
                raise damaged(directory / MANIFEST, "it belongs to another cache")
            if wanted is None and stored.get("layers") is not None:
                continue
            if {layer.layer for layer in layers_of(manifest)}.issuperset(wanted or []):
                return Cache.open(directory, layers=wanted)
        return None


def cache_key(
    handle: Handle,
    corpus: Corpus,
    kind: str,
    *,
    layers: list[int] | None,
    position: PositionConfig,
    extraction: ExtractionConfig,
    truncate: bool,
) -> CacheKey:
    """The key of the activations that ``extract`` would store under these settings."""
    fields = {
        "schema_version": SCHEMA_VERSION,
        "model": handle.fingerprint,
        "model_dtype": handle.dtype,
        "attention": handle.attention,
        "tokenizer": handle.tokenizer_fingerprint,
        "texts": corpus.text_fingerprint,
        "site": kind,
        "head_projection": handle.settings.head_projection,
        "dtype": extraction.dtype,
        "position": asdict(position),
        "max_length": handle.context,
        "truncate": truncate,
    }
    return CacheKey(fields, None if layers is None else tuple(sorted(set(layers))))
