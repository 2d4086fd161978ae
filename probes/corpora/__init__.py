"""Texts with gold annotations, groups and splits; nothing here knows of models or tokens."""

from __future__ import annotations

from importlib import import_module

from probes.config import CORPUS_KINDS, CorpusConfig
from probes.core.errors import UserError
from probes.corpora.corpus import Corpus
from probes.corpora.subset import take


def load_corpus(config: CorpusConfig) -> Corpus:
    """Read or generate the corpus that a config describes.

    The result still has the split its source ships; see ``splits.assign_splits``. With
    ``max_examples`` it is a part of it, drawn by group (``subset.take``).

    Raises:
        UserError: a config of no known kind, or whatever is wrong with the files, naming the file
            and line.
    """
    if config.max_examples is not None and config.max_examples < 1:
        raise UserError(
            f"corpus.max_examples={config.max_examples}",
            allowed="1 or more; null for all",
            fix="corpus.max_examples=null",
        )
    kinds = {kind.config: kind for kind in CORPUS_KINDS.values()}
    for config_class in type(config).__mro__:
        if config_class in kinds:
            kind = kinds[config_class]
            corpus: Corpus = import_module(f"probes.corpora.{kind.module}").load(config)
            if config.max_examples is None or kind.reads_first:
                return corpus
            return take(corpus, config.max_examples, config.sample_seed)
    raise UserError(
        f"corpus={config.name}: no such kind of corpus",
        allowed=", ".join(CORPUS_KINDS),
        fix="corpus=grammar",
    )
