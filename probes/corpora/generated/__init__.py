"""Corpora generated from a seed, one for each kind of mechanism that heads are known for.

A module of this package is a choice of ``corpus=``: ``generate(config)`` makes its prompts. What
the modules share is in ``kit`` (writing prompts) and ``data`` (words and facts).
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from probes.config import GeneratedConfig
from probes.core.errors import UserError, closest
from probes.corpora.corpus import Corpus
from probes.corpora.generated.kit.prompt import GeneratedCorpus, corpus_of


@cache
def names() -> tuple[str, ...]:
    """Every generated corpus: the modules of this package."""
    return tuple(sorted(module.name for module in iter_modules(__path__) if not module.ispkg))


def generate(config: GeneratedConfig) -> GeneratedCorpus:
    """The generated corpus that a config names, as a stream of prompts.

    Raises:
        UserError: an unknown corpus, unknown options, or values that cannot be generated.
    """
    if config.name not in names():
        raise UserError(
            f"corpus={config.name}: no such generated task",
            allowed=", ".join(names()),
            fix=closest(config.name, list(names()), "corpus={}"),
        )
    if config.examples < 1:
        raise UserError(f"corpus.examples={config.examples}", allowed="1 or more")
    module = import_module(f"{__name__}.{config.name}")
    generated: GeneratedCorpus = module.generate(config)
    return generated


def load(config: GeneratedConfig) -> Corpus:
    """The corpus of ``corpus=NAME``: ``examples`` different prompts."""
    generated = generate(config)
    return corpus_of(generated, generated.take(config.examples))
