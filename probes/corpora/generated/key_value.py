"""Key and value: pairs are listed, then a key asks for its value (associative recall).

The task by which sequence models are compared for their memory (Arora et al. 2023, arXiv
2312.04927, "Zoology"). Every text lists all values once, so that the words present do not give the
answer away, and keys are asked for independently of each other, so that what has been answered does
not either.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from probes.config import GeneratedConfig
from probes.core.errors import UserError
from probes.corpora.generated.data.vocabulary import most_words, task_words
from probes.corpora.generated.kit.blocks import others
from probes.corpora.generated.kit.options import options
from probes.corpora.generated.kit.prompt import (
    Expected,
    GeneratedCorpus,
    Prompt,
    Twin,
    targets_of,
    twin_random,
)
from probes.corpora.generated.kit.writing import Writer, evenly

VALUES = ["red", "blue", "green", "white", "black", "pink", "gold", "brown"]
VALUES += ["grey", "orange", "purple", "silver"]

DEFAULTS = {"keys": 32, "pairs": 4, "questions": 12, "spare": 0, "vocabulary": "invented"}
"""Keys in all; pairs of a text; how often a key is asked for, the last time at END; values that a
text leaves out: with some, training can begin with copying any value of the text; which words the
keys are: ``invented`` or ``common`` ones."""

DESCRIPTIONS = {
    "answer": "the value of the key that is asked for",
    "pair": "where in the list that key stands, counted from 1",
}


def generate(config: GeneratedConfig) -> GeneratedCorpus:
    """Lists of pairs with questions; the group is the key of the last question."""
    chosen = options(config.name, config.options, DEFAULTS)
    for name, low, high in (
        ("pairs", 2, len(VALUES)),
        ("keys", chosen["pairs"], most_words(chosen["vocabulary"])),
        ("questions", 1, 1000),
        ("spare", 0, len(VALUES) - chosen["pairs"]),
    ):
        if not low <= chosen[name] <= high:
            raise UserError(
                f"corpus.options.{name}={chosen[name]} (with pairs={chosen['pairs']})",
                allowed=f"{low} to {high}",
                fix=f"corpus.options.{name}={low if chosen[name] < low else high}",
            )
    return GeneratedCorpus(
        name=config.name,
        prompts=_prompts(config, chosen),
        group_name="key",
        default_features=("answer", "pair"),
        descriptions=DESCRIPTIONS,
    )


def _prompts(config: GeneratedConfig, chosen: dict[str, Any]) -> Iterator[Prompt]:
    rng, draws = Random(f"{config.name} {config.seed}"), twin_random(config)
    n_pairs = chosen["pairs"]
    names = task_words(chosen, chosen["keys"])
    values = VALUES[: n_pairs + chosen["spare"]]
    asked = evenly(names, rng)
    places = evenly([(value, place) for value in values for place in range(n_pairs)], rng)
    while True:
        key = next(asked)
        answer, place = next(places)
        keys = rng.sample([name for name in names if name != key], n_pairs - 1)
        keys.insert(place, key)
        listed = rng.sample([value for value in values if value != answer], n_pairs - 1)
        listed.insert(place, answer)
        value_of = dict(zip(keys, listed, strict=True))
        writer = Writer()
        for name in keys:
            writer.add(name, value_of[name])
        wrong = {value: others(listed, value) for value in listed}
        answers = []
        for name in [*rng.choices(keys, k=chosen["questions"] - 1), key]:
            value = value_of[name]
            answers.append(Expected(writer.ends[writer.add(name)], value, wrong[value], "answer"))
            writer.add(value)
        text = writer.text[: answers[-1].offset]
        other = draws.choice(others(keys, key))
        twin = Twin("other_key", text.removesuffix(key) + other, value_of[other])
        yield Prompt(
            text=text,
            group=key,
            values={"answer": answer, "pair": str(place + 1)},
            targets=targets_of(answers),
            answers=tuple(answers),
            twins=(twin,),
        )
