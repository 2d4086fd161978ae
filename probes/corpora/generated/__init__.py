"""Corpora generated from a seed, one for each kind of mechanism that heads are known for."""

from __future__ import annotations

from importlib import import_module

from probes.config import GeneratedConfig
from probes.core.errors import UserError, closest
from probes.corpora.corpus import Corpus
from probes.corpora.generated.kit.prompt import Generated, corpus_of

TASKS: dict[str, str] = {
    "induction": "induction",
    "markov": "markov",
    "key_value": "key_value",
    "structure": "structure",
    "subwords": "subwords",
    "succession": "succession",
    "iteration": "iteration",
    "needle": "needle",
    "acronyms": "acronyms",
    "facts": "facts",
    "choices": "choices",
    "binary": "binary",
    "reviews": "reviews",
    "moods": "reviews",
    "functions": "functions",
    "few_shot": "few_shot",
    "ioi": "ioi",
    "coloured_objects": "coloured_objects",
    "word_relations": "word_relations",
    "consistency": "consistency",
    "insertion": "insertion",
    "faithfulness": "faithfulness",
    "languages": "languages",
}
"""Task -> the module of this package whose ``generate(config)`` makes its prompts."""


def generate(config: GeneratedConfig) -> Generated:
    """The task that a config names, as a stream of prompts.

    Raises ``UserError`` for an unknown task, unknown options, or values that cannot be generated.
    """
    if config.name not in TASKS:
        raise UserError(
            f"corpus={config.name}: no such generated task",
            allowed=", ".join(TASKS),
            fix=f"corpus={closest(config.name, list(TASKS))}",
        )
    if config.examples < 1:
        raise UserError(f"corpus.examples={config.examples}", allowed="1 or more")
    module = import_module(f"probes.corpora.generated.{TASKS[config.name]}")
    task: Generated = module.generate(config)
    return task


def load(config: GeneratedConfig) -> Corpus:
    """The corpus of ``corpus=TASK``: ``examples`` different prompts."""
    task = generate(config)
    return corpus_of(task, task.take(config.examples))
