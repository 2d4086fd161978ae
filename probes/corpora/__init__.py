"""Texts with gold annotations, groups and splits; nothing here knows of models or tokens."""

from __future__ import annotations

from importlib import import_module

from probes.config import CORPUS_KINDS, CorpusConfig
from probes.core.errors import UserError
from probes.corpora.corpus import Corpus


def load_corpus(config: CorpusConfig) -> Corpus:
    """Read or generate the corpus that a config describes.

    The result still has the split its source ships; see ``splits.assign_splits``.

    Raises:
        UserError: a config of no known kind, or whatever is wrong with the files, naming the file
            and line.
    """
    modules = {kind.config: kind.module for kind in CORPUS_KINDS.values()}
    for config_class in type(config).__mro__:
        if config_class in modules:
            module = import_module(f"probes.corpora.{modules[config_class]}")
            corpus: Corpus = module.load(config)
            return corpus
    raise UserError(
        f"corpus={config.name}: no such kind of corpus",
        allowed=", ".join(CORPUS_KINDS),
        fix="corpus=grammar",
    )
