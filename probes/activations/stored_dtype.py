"""The dtype that each site is stored in: as asked, or what ``extraction.dtype=auto`` comes to."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from probes.activations.cache import Cache
from probes.activations.dtypes import AUTO
from probes.activations.key import CacheKey
from probes.activations.layout import read_manifest
from probes.activations.rounding import Rounding, measure, rounding_of
from probes.core.errors import UserError
from probes.models.hf_config import Kind
from probes.models.sites import Site
from probes.passes.batches import BatchPlan

log = logging.getLogger(__name__)


def settle_dtypes(
    kind: Kind,
    body: nn.Module,
    plan: BatchPlan,
    sites: Mapping[str, Sequence[Site]],
    keys: Mapping[str, CacheKey],
    cache_dir: Path,
) -> tuple[dict[str, CacheKey], dict[str, Rounding]]:
    """The keys with a dtype in the place of ``auto``, and what storage in it loses of each site.

    A cache that was begun keeps its dtype. Otherwise a sample of the corpus is run: before any
    file is reserved, and the same sample in every shard, so that all come to one dtype.
    """
    settled, rounding = dict(keys), {}
    asked = {site: key.dtype for site, key in keys.items() if key.dtype != "float32"}
    for site in list(asked):
        begun = _begun(keys[site], cache_dir)
        if begun is not None:
            settled[site], rounding[site] = begun
            del asked[site]
    rounding |= measure(kind, body, plan, sites, asked) if asked else {}
    for site, dtype in asked.items():
        if dtype != AUTO:
            continue
        loss = rounding[site]
        settled[site] = keys[site].stored_as("float16" if loss.tolerable else "float32")
        if not loss.tolerable:
            log.info("%s: stored in float32: %s", site, loss.sentence(site))
    return settled, rounding


def warn_of_rounding(site: str, cache: Cache, asked: str) -> None:
    """Say what a cache has lost, where its dtype was asked for and does not hold the site."""
    loss = None if asked == AUTO else rounding_of(cache)
    if loss is not None and not loss.tolerable:
        log.warning("%s: %s; try extraction.dtype=auto (or float32)", site, loss.sentence(site))


def _begun(key: CacheKey, cache_dir: Path) -> tuple[CacheKey, Rounding] | None:
    """The key under which an extraction of the same was begun, and what it measured."""
    for candidate in key.candidates():
        try:
            manifest = read_manifest(cache_dir / f"{candidate.name}.partial")
        except UserError:
            continue
        rounding = Rounding.from_manifest(manifest)
        if rounding is not None and rounding.asked == key.dtype:
            return candidate, rounding
    return None
