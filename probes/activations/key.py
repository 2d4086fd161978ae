"""The name of a cache: a hash of everything that changes its numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from probes.activations.cache import Cache
from probes.activations.dtypes import AUTO
from probes.activations.layout import (
    MANIFEST,
    SCHEMA_VERSION,
    damaged,
    layers_of,
    read_manifest,
)
from probes.activations.rounding import serves_auto
from probes.config import ExtractionConfig, PositionConfig
from probes.core.errors import UserError
from probes.core.files import digest
from probes.models.handle import Handle

VERIFICATION = 2
"""Of what is proved of a model before it is read: 2 since padded batches and what the attention
itself computes are."""
PROVED_ANEW = frozenset(
    {
        *("convbert", "cpmant", "diffllama", "fsmt"),  # not attention's heads: refused since 2
        *("led", "longformer", "nystromformer", "yoso"),  # padding gets in: one text at a time
    }
)
"""Model types whose earlier caches hold other numbers than are read now, or false ones."""


class ReadCorpus(Protocol):
    """What of a corpus changes activations."""

    @property
    def text_fingerprint(self) -> str:
        """Hash of texts and units."""

    @property
    def replies(self) -> tuple[int, ...]:
        """Where in each text the reply begins."""


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

    @property
    def dtype(self) -> str:
        """``extraction.dtype``, or what it came to."""
        return str(self.fields["dtype"])

    def stored_as(self, dtype: str) -> CacheKey:
        """The key of the same activations in a dtype."""
        return replace(self, fields=self.fields | {"dtype": dtype})

    def candidates(self) -> list[CacheKey]:
        """The keys that these activations may be stored under: caches are named after the dtype
        that they have, so those of ``auto`` are the ones that it may come to."""
        if self.dtype != AUTO:
            return [self]
        return [self.stored_as(dtype) for dtype in ("float16", "float32")]

    def find(self, cache_dir: Path) -> Cache | None:
        """A finished cache that holds the layers asked for: this one, the whole, or another.

        For ``auto`` a float16 cache that somebody asked for serves too where it lost little, so
        that those of earlier versions are found; a float32 cache only where ``auto`` made it.

        Raises:
            UserError: where this cache or the whole is damaged.
        """
        if self.dtype == AUTO:
            caches = (key.find(cache_dir) for key in self.candidates())
            return next((cache for cache in caches if cache and serves_auto(cache)), None)
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
    corpus: ReadCorpus,
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
    if handle.config.model_type in PROVED_ANEW or handle.settings.head_projection is not None:
        # A cache is found without opening the model. All others keep the keys that they had.
        fields["verification"] = VERIFICATION
    if handle.chat is not None:
        fields["replies"] = digest(corpus.replies)
    return CacheKey(fields, None if layers is None else tuple(sorted(set(layers))))
