"""A needle in a haystack: a fact hidden in filler, asked for at the end.

Retrieval heads (Wu et al. 2024, arXiv 2404.15574) bring the needle's content to where it is said.
Length and depth are factors: lists of which every combination is equally frequent. Other facts of
the same form stand in the filler too, so that the words present do not give the answer away.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from random import Random
from typing import Any

from probes.config import GeneratedConfig
from probes.core.errors import UserError
from probes.corpora.generated.kit.options import options
from probes.corpora.generated.kit.prompt import (
    Expected,
    GeneratedCorpus,
    Prompt,
    Twin,
    twin_random,
)
from probes.corpora.generated.kit.writing import Writer, evenly, words

NAMES = words(
    """
    Adam Alice Anna Arthur Ben Bella Carl Clara Daniel Diana Edward Emma Felix Fiona George Grace
    Henry Helen Ivan Irene Jack Julia Kevin Karen Leo Laura Martin Maria Nathan Nora Oscar Olivia
    Paul Paula Robert Rosa Simon Susan Thomas Tina Victor Vera Walter Wendy
    """
)
CONTENTS = words("apple bottle candle drum feather glove hammer ladder mirror pillow rope spoon")
FILLER = [
    " ".join(parts)
    for parts in product(
        (
            "the sky was grey",
            "a cold wind blew",
            "some birds sang",
            "the rain fell",
            "time went by",
        ),
        ("again", "all day", "for hours", "in silence"),
        ("over the hills", "by the sea", "in the old town", "near the road", "above the fields"),
    )
]
FACT = 5
"""Words of a fact, full stop included: Anna holds the lantern."""

DEFAULTS: dict[str, Any] = {
    "lengths": [60, 90, 120],
    "depths": [0, 25, 50, 75, 100],
    "others": 2,
    "questions": 1,
}
"""Words of a text, at most; percent of the filler before the needle; further facts; number of
questions. All but the last question concern random people: more questions speed up the training of
a simplified model, but then a third of the texts contain the last answer. The thing is a target at
the name already (a hint), and where it is due."""

DESCRIPTIONS = {
    "needle": "content of the fact asked for",
    "depth": "percent of the filler before the fact",
    "length": "words of the text, at most",
}


def generate(config: GeneratedConfig) -> GeneratedCorpus:
    """Filler with facts; the group is the person asked for."""
    chosen = options(config.name, config.options, DEFAULTS)
    least = FACT * (chosen["others"] + chosen["questions"] + 1) + 10
    for name, low, high in (("lengths", least, 10_000_000), ("depths", 0, 100)):
        values = chosen[name]
        wrong = [v for v in values if not (isinstance(v, int) and low <= v <= high)]
        if wrong or not values:
            raise UserError(
                f"corpus.options.{name}={values}",
                allowed=f"whole numbers from {low} to {high}",
                fix=f"corpus.options.{name}={DEFAULTS[name]}".replace(" ", ""),
            )
    if not 1 <= chosen["others"] < len(CONTENTS):
        raise UserError(
            f"corpus.options.others={chosen['others']}",
            allowed=f"1 to {len(CONTENTS) - 1}",
            fix=f"corpus.options.others={DEFAULTS['others']}",
        )
    if chosen["questions"] < 1:
        raise UserError(f"corpus.options.questions={chosen['questions']}", allowed="1 or more")
    return GeneratedCorpus(
        name=config.name,
        prompts=_prompts(config, chosen),
        group_name="person",
        default_features=("needle", "depth", "length"),
        descriptions=DESCRIPTIONS,
    )


def _prompts(config: GeneratedConfig, chosen: dict[str, Any]) -> Iterator[Prompt]:
    rng, draws = Random(f"{config.name} {config.seed}"), twin_random(config)
    factors = evenly(list(product(chosen["lengths"], chosen["depths"])), rng)
    people, contents = evenly(NAMES, rng), evenly(CONTENTS, rng)
    while True:
        (length, depth), person, content = next(factors), next(people), next(contents)
        others = rng.sample([name for name in NAMES if name != person], chosen["others"])
        held = rng.sample([name for name in CONTENTS if name != content], chosen["others"])
        sentences = _filler(rng, length - FACT * (chosen["others"] + chosen["questions"] + 1))
        needle = round(depth / 100 * len(sentences))
        facts = {name: thing for name, thing in zip(others, held, strict=True)}
        places = sorted((rng.randrange(len(sentences) + 1), name) for name in facts)
        writer = Writer()
        for index in range(len(sentences) + 1):
            here = [(name, facts[name]) for place, name in places if place == index]
            if index == needle:
                here.insert(rng.randrange(len(here) + 1), (person, content))
            for name, thing in here:
                writer.add(name, "holds", "the", thing, ".")
            if index < len(sentences):
                writer.add(*sentences[index])
        facts[person] = content
        targets, answers = [], []
        writer.add("question", ":")
        for name in [*rng.choices(list(facts), k=chosen["questions"] - 1), person]:
            thing = facts[name]
            targets.append((writer.ends[writer.add(name)], thing))  # a hint
            end = writer.ends[writer.add("holds", "the")]
            targets.append((end, thing))
            alternatives = tuple(other for other in facts.values() if other != thing)
            answers.append(Expected(end, thing, alternatives, "needle"))
            writer.add(thing, ".")
        text = writer.text[: answers[-1].offset]
        other = draws.choice(others)
        twin = text.removesuffix(f"{person} holds the") + f"{other} holds the"
        yield Prompt(
            text=text,
            group=person,
            values={"needle": content, "depth": str(depth), "length": str(length)},
            targets=tuple(targets),
            answers=tuple(answers),
            twins=(Twin("other_person", twin, facts[other]),),
        )


def _filler(rng: Random, words: int) -> list[list[str]]:
    """Sentences of nearly so many words, full stops included, and of no more."""
    sentences: list[list[str]] = []
    while True:
        sentence = [*rng.choice(FILLER).split(), "."]
        words -= len(sentence)
        if words < 0:
            return sentences
        sentences.append(sentence)
