"""What the manifest of a new cache says: where its numbers come from."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any

import numpy as np
import safetensors
import tokenizers
import torch
import transformers

from probes.activations.key import CacheKey
from probes.activations.layout import SCHEMA_VERSION, LayerInfo, layer_file
from probes.activations.rounding import Rounding
from probes.core.version import __version__
from probes.models.handle import Handle
from probes.models.sites import Site
from probes.passes.batches import BatchPlan


def layer_infos(sites: Sequence[Site]) -> list[LayerInfo]:
    """A file for each site."""
    single = len({site.stream for site in sites}) == 1
    return [
        LayerInfo(
            stream=site.stream,
            layer=site.layer,
            units=site.units,
            width=site.width,
            file=layer_file(site.stream, site.layer, single_stream=single),
        )
        for site in sites
    ]


def new_manifest(
    key: CacheKey, handle: Handle, plan: BatchPlan, rounding: Rounding | None
) -> dict[str, Any]:
    """Of a cache that is begun: without its layers, sizes and progress, which the writer adds.

    rounding: what the stored dtype loses, where that was measured.
    """
    alignment = plan.alignment
    manifest: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "key": key.name,
        "fields": key.fields | {"layers": key.layers and list(key.layers)},
        "site": key.fields["site"],
        "dtype": key.dtype,
        "model_name": handle.name,
        "device": handle.device.partition(":")[0],  # which of several is no difference
        "tokens": int(alignment.offsets[-1]),
        "sequences": len(alignment.example),
        "tokens_per_batch": plan.tokens_per_batch,
        "counts": alignment.counts,
        "versions": _versions(),
    }
    if rounding is not None:
        manifest["rounding"] = rounding.to_json()
    return manifest


def _versions() -> dict[str, str]:
    modules = (torch, transformers, tokenizers, safetensors, np)
    versions = {module.__name__: str(module.__version__) for module in modules}
    return versions | {"headprobes": __version__, "python": platform.python_version()}
