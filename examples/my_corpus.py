"""A corpus of your own: a function that returns texts, labelled units, groups and a split.

    headprobes corpus=custom corpus._target_=examples/my_corpus.py:number_words min_count=5

Each text is one example; the units are the words that are labelled, by their characters. Groups
never cross a split.
"""

from __future__ import annotations

from random import Random

from probes.config import CustomCorpusConfig
from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import UNASSIGNED, Corpus

COUNTED = {"one": "singular", "two": "plural", "three": "plural", "five": "plural"}
THINGS = ["cat", "boat", "lamp", "stone", "cloud", "apple", "train", "letter", "window", "garden"]


def number_words(config: CustomCorpusConfig) -> Corpus:
    """Sentences in which a noun is counted; each noun is a group, so test nouns are new."""
    rng = Random(config.seed)
    builder = CorpusBuilder("number_words", group_name="noun")
    for _ in range(config.examples):
        thing, count = rng.choice(THINGS), rng.choice(list(COUNTED))
        noun = thing if count == "one" else f"{thing}s"
        start = f"{rng.choice(['She saw', 'They drew', 'We found'])} {count} "
        text = f"{start}{noun} {rng.choice(['today', 'last week', 'near the river'])} ."
        if text in builder.texts:
            continue
        example = builder.add_text(text, group=thing, split=UNASSIGNED)
        builder.add_unit(
            example, len(start), len(start) + len(noun), "word", {"number": COUNTED[count]}
        )
    return builder.build(
        default_features=["number"], descriptions={"number": "whether the noun is one or several"}
    )
