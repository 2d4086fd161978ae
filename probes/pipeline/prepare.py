"""What of a run is settled before the heavy libraries are imported.

Settings, texts, features and the model's directory: most of what a user can get wrong, answered in
half a second and not after the seconds that torch takes.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from probes.config import RunConfig
from probes.config.methods import EXACT
from probes.core.errors import UserError
from probes.core.memory import parse_size
from probes.corpora import load_corpus
from probes.corpora.corpus import Corpus
from probes.corpora.splits import assign_splits
from probes.models.sources import check_source
from probes.passes.shard_choice import chosen_shard
from probes.passes.shards import WHOLE, Shard

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedRun:
    """A run whose settings were checked and whose corpus was read; what ``run_prepared`` takes."""

    config: RunConfig
    """As the user composed it."""
    corpus: Corpus
    """With its splits."""
    features: list[str]
    """What is decoded; each of them is in the corpus."""
    cache_dir: Path
    memory_budget: int
    """Bytes."""
    disk_budget: int | None = None
    """Bytes; None: no bound."""
    shard: Shard = WHOLE
    """The part of the run that this process does."""


def prepare(config: RunConfig, *, corpus: Corpus | None = None, tell: bool = True) -> PreparedRun:
    """Read the corpus of a configuration that ``config.checks.check`` has passed.

    corpus: what was read before for the same ``corpus`` and ``split``; it is not read again.
    tell: log what reading it left out or changed.

    Raises:
        UserError: what is wrong, what is allowed and which override fixes it.
    """
    memory_budget = parse_size(config.memory_budget, key="memory_budget")
    disk_budget = None
    if config.disk_budget is not None:
        disk_budget = parse_size(config.disk_budget, key="disk_budget")
    if corpus is None:
        corpus = assign_splits(load_corpus(config.corpus), config.split)
    features = chosen_features(config, corpus)
    if config.model.simplified is None:
        check_source(config.model)
    for note in corpus.notes if tell else ():
        log.info("%s: %s", corpus.name, note)
    cache_dir = Path(os.path.expanduser(config.cache_dir))
    shard = chosen_shard(config.shard, os.environ)
    if config.keep_parts and disk_budget is not None:
        raise UserError(
            f"keep_parts=true and disk_budget={config.disk_budget}: activations that are dropped "
            "cannot be compared with those of other runs",
            fix="keep_parts=false",
        )
    if shard != WHOLE or config.engine.name != "local":
        _check_shared(config)
    return PreparedRun(config, corpus, features, cache_dir, memory_budget, disk_budget, shard)


def _check_shared(config: RunConfig) -> None:
    """Refuse what several processes cannot share."""
    key = "shard" if config.shard is not None else "engine"
    value = config.shard or config.engine.name
    if config.shard is not None and config.engine.name != "local":
        raise UserError(
            f"shard={config.shard} and engine={config.engine.name}: one of them divides the run",
            fix="shard=null",
        )
    if config.disk_budget is not None:
        raise UserError(
            f"{key}={value} and disk_budget={config.disk_budget}: passes over the layers "
            "are made by one process",
            fix="disk_budget=null",
        )
    if not {"probe", *EXACT} & set(config.methods):
        raise UserError(
            f"{key}={value} with methods={list(config.methods)}: processes share the "
            "probes of a run and its effects of ablation and patching, and this one has none",
            fix="engine=local" if key == "engine" else "shard=null",
        )


def chosen_features(config: RunConfig, corpus: Corpus) -> list[str]:
    """The features asked for, or the corpus' own choice; each checked to exist."""
    names = list(dict.fromkeys(config.features or corpus.default_features or corpus.features))
    for name in [*names, config.evaluation.erase]:
        if name is not None:
            corpus.feature(name)
    return names
