"""Which shared activations are there already, and how large the others will be.

Asked where jobs are to be run only: it opens each model, for which torch is imported.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from probes.activations.dtypes import DTYPES
from probes.activations.key import cache_key
from probes.config import RunConfig
from probes.core.errors import UserError
from probes.models.depth import chosen_layers
from probes.models.handle import Handle
from probes.models.hf_config import field_of
from probes.models.loading import open_model
from probes.pipeline.fit_plan import wanted_sites
from probes.results.vocabulary.sites import HEADS
from probes.simplified.store import is_trained, resolve
from probes.sweeps.caches import SharedCache


@dataclass(frozen=True)
class CacheState:
    """What is known of shared activations before they are extracted."""

    complete: bool = False
    """Whether nothing is to be extracted."""
    sites: tuple[str, ...] = ()
    n_bytes: int | None = None
    """On disk; None where it cannot be told before the model has run."""
    unknown: str = ""
    """Why nothing is known."""


def cache_state(shared: SharedCache) -> CacheState:
    """Look for the activations of a group of jobs.

    A model that cannot be opened, or is yet to be trained, leaves it unknown: the run that extracts
    says what is wrong.
    """
    config = shared.config
    cache_dir = Path(os.path.expanduser(config.cache_dir))
    if config.model.simplified is not None and not is_trained(config.model.simplified, cache_dir):
        return CacheState(unknown="its model is trained first")
    try:
        model = resolve(config.model, cache_dir, config.trainer)
        handle = open_model(model, cache_dir=cache_dir)
        wanted = wanted_sites(config, model, handle, cache_dir)
        return _state(shared, config, wanted, cache_dir)
    except UserError as error:
        return CacheState(unknown=error.wrong)


def _state(
    shared: SharedCache,
    config: RunConfig,
    wanted: list[tuple[str, Handle, list[str]]],
    cache_dir: Path,
) -> CacheState:
    corpus = shared.corpus
    layers = chosen_layers(config.layers, wanted[0][1], config.site)
    sizes: list[int | None] = []
    complete = True
    for _, handle, sites in wanted:
        for site in sites:
            key = cache_key(
                handle,
                corpus,
                site,
                layers=layers,
                position=config.position,
                extraction=config.extraction,
                truncate=config.truncate,
            )
            found = key.find(cache_dir)
            if found is None:
                complete = False
                sizes.append(_bytes(handle, site, shared, layers, key.candidates()[0].dtype))
            else:
                files = [found.directory / layer.file for layer in found.layers]
                sizes.append(sum(path.stat().st_size for path in files))
    known = [size for size in sizes if size is not None]
    total = sum(known) if len(known) == len(sizes) else None
    return CacheState(complete, tuple(dict.fromkeys(s for _, _, ss in wanted for s in ss)), total)


def _bytes(
    handle: Handle, site: str, shared: SharedCache, chosen: list[int] | None, dtype: str
) -> int | None:
    """About how many a site of a model takes: a row for each labelled unit."""
    try:
        layers = field_of(handle.config, "num_hidden_layers", "n_layer", "num_layers")
        width = field_of(handle.config, "hidden_size", "n_embd", "d_model", "dim")
        if site == HEADS:
            heads = field_of(handle.config, "num_attention_heads", "n_head", "num_heads")
            with contextlib.suppress(UserError):  # else heads share the width of the model
                width = heads * field_of(handle.config, "head_dim", "d_kv")
    except UserError:
        return None
    stored = layers if chosen is None else len(chosen)
    return stored * width * shared.corpus.units * DTYPES[dtype].itemsize
