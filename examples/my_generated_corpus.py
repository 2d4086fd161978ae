"""A generated corpus of your own: an endless stream of prompts, of which a run takes some.

    headprobes corpus=custom corpus._target_=examples/my_generated_corpus.py:opposites

A prompt has values at its end, marks within it, and targets: what a model that has understood says
next. A simplified model can be trained on the targets.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from probes.config import CustomCorpusConfig
from probes.corpora.generated.kit.prompt import GeneratedCorpus, Mark, Prompt

PAIRS = {"hot": "cold", "tall": "short", "early": "late", "loud": "quiet", "dark": "bright"}
NAMES = ["Ann", "Bob", "Eve", "Tom", "Sue", "Max", "Kim", "Lee", "Ray", "Pat"]


def opposites(config: CustomCorpusConfig) -> GeneratedCorpus:
    """Somebody says the opposite of somebody else; the feature is the word that is due."""
    return GeneratedCorpus(
        name="opposites",
        prompts=_prompts(config.seed),
        group_name="names",
        default_features=("answer",),
        descriptions={"answer": "the opposite of the word that was said"},
    )


def _prompts(seed: int) -> Iterator[Prompt]:
    rng = Random(seed)
    both = {**PAIRS, **{right: left for left, right in PAIRS.items()}}
    while True:
        first, second = rng.sample(NAMES, 2)
        word = rng.choice(list(both))
        before = f"{first} says it is "
        text = f"{before}{word} , but {second} says it is"
        yield Prompt(
            text=text,
            group=f"{first} {second}",
            marks=(Mark(len(before), len(before) + len(word), {"said": word}),),
            values={"answer": both[word]},
            targets=((len(text), both[word]),),
        )
