"""A corpus from outside the package: a function of the user's own reads or generates it."""

from __future__ import annotations

from probes.config import CustomCorpusConfig
from probes.core.errors import UserError
from probes.core.targets import FORMS, load_target
from probes.corpora.corpus import Corpus
from probes.corpora.generated.kit.prompt import GeneratedCorpus, corpus_of

KEY = "corpus._target_"


def load(config: CustomCorpusConfig) -> Corpus:
    """The corpus of ``corpus=custom corpus._target_=FILE.py:NAME``.

    The function is called with the config and returns a ``Corpus`` (a reader), or a
    ``GeneratedCorpus``, of which ``corpus.examples`` different prompts are taken.

    Raises:
        UserError: the target cannot be loaded, or returns something else.
    """
    made = call(config, KEY)
    if isinstance(made, GeneratedCorpus):
        if config.examples < 1:
            raise UserError(f"corpus.examples={config.examples}", allowed="1 or more")
        return corpus_of(made, made.take(config.examples))
    if isinstance(made, Corpus):
        return made
    raise wrong_type(config, made, "a Corpus or a GeneratedCorpus", KEY)


def generate(config: CustomCorpusConfig, *, key: str = KEY) -> GeneratedCorpus:
    """The generated corpus of a custom config, as a stream of prompts.

    key: the override that holds the target, for messages.

    Raises:
        UserError: the target cannot be loaded, or generates no prompts.
    """
    made = call(config, key)
    if not isinstance(made, GeneratedCorpus):
        raise wrong_type(config, made, "a GeneratedCorpus", key)
    return made


def call(config: CustomCorpusConfig, key: str) -> object:
    """What the target of a config returns."""
    target_name = config._target_
    if target_name in ("???", ""):
        raise UserError(f"{key} is not set", allowed=FORMS, fix=f"{key}=FILE.py:NAME")
    target = load_target(target_name, key=key)
    try:
        made: object = target(config)
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            raise  # an error inside the function, whose traceback its author needs
        raise UserError(
            f"{key}={target_name}: {error}", allowed="a function of one argument, the config"
        ) from error
    return made


def wrong_type(config: CustomCorpusConfig, made: object, wanted: str, key: str) -> UserError:
    """The message where the target returned something else than a corpus."""
    return UserError(
        f"{key}={config._target_} returned an object of type {type(made).__name__}", allowed=wanted
    )
