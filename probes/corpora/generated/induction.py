"""Induction: words in an order that only the context shows.

Each sequence has its own random cycle of words and walks along it in chunks, jumping between them,
so that repeats come at no fixed distance: a fixed one is solved by position alone, without a
previous-token head. What followed a word earlier is what an induction head (Olsson et al. 2022,
arXiv 2209.11895) says next.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
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

DEFAULTS = {"symbols": 32, "cycle": 16, "length": 64, "chunk": 8, "marked": 16,
            "vocabulary": "common"}  # fmt: skip
"""Words in all; words of one sequence's cycle; words of a text; mean words between jumps; words
of a text at which features are read; which words: ``common`` ones are single tokens to most models,
as the definition of an induction head has it, ``invented`` ones are not."""

DESCRIPTIONS = {
    "token": "the word itself",
    "previous_token": "the word before it",
    "next_token": "what followed the word where it occurred earlier",
    "answer": "what followed the last word where it occurred earlier",
}


def generate(config: GeneratedConfig) -> GeneratedCorpus:
    """Sequences over cycles of their own; targets are the words that the context determines.

    Features of words are read where the word occurred before and was followed by the same word
    each time, so a row has all of them.
    """
    chosen = options(config.name, config.options, DEFAULTS)
    check(chosen)
    return GeneratedCorpus(
        name=config.name,
        prompts=_prompts(config, chosen),
        group_name="cycle",
        default_features=("previous_token", "next_token", "answer"),
        descriptions=DESCRIPTIONS,
    )


def check(chosen: dict[str, Any]) -> None:
    """Raise ``UserError`` for sizes at which nothing recurs."""
    most = most_words(chosen["vocabulary"])
    symbols, cycle, length = chosen["symbols"], chosen["cycle"], chosen["length"]
    for name, low, high in (
        ("symbols", 2, most),
        ("cycle", 2, symbols),
        ("length", 2 * cycle, None),
        ("chunk", 2, None),
        ("marked", 1, None),
    ):
        value = chosen[name]
        if value < low or (high is not None and value > high):
            raise UserError(
                f"corpus.options.{name}={value} (with symbols={symbols}, cycle={cycle}, "
                f"length={length})",
                allowed=f"{low} to {high}" if high is not None else f"{low} or more",
                fix=f"corpus.options.{name}={low if value < low else high}",
            )


def _prompts(config: GeneratedConfig, chosen: dict[str, Any]) -> Iterator[Prompt]:
    rng, draws = Random(f"{config.name} {config.seed}"), twin_random(config)
    words = task_words(chosen, chosen["symbols"])
    answers = evenly(words, rng)
    while True:
        walk, said = _walk(rng, chosen["cycle"], chosen["length"], chosen["chunk"])
        answer = next(answers)
        names = rng.sample([word for word in words if word != answer], chosen["cycle"] - 1)
        names.insert(said[-1], answer)  # place ``said[-1]`` of the cycle gets the answer's name
        first = names.index(min(names))  # one name for a cycle wherever it is entered
        writer = Writer()
        writer.add(*(names[place] for place in walk))
        known = [index for index, place in enumerate(said) if place >= 0]
        marked = sorted(rng.sample(known, min(chosen["marked"], len(known))))
        wrong = {name: others(names, name) for name in names}
        expected = tuple(
            Expected(
                writer.ends[index],
                names[said[index]],
                wrong[names[said[index]]],
                "answer" if index == len(walk) - 1 else "next_token",
            )
            for index in known
            if index == len(walk) - 1 or walk[index + 1] == said[index]
        )
        yield Prompt(
            text=writer.text,
            group=" ".join(names[first:] + names[:first]),
            marks=tuple(
                writer.mark(
                    index,
                    {
                        "token": names[walk[index]],
                        "previous_token": names[walk[index - 1]],
                        "next_token": names[said[index]],
                    },
                )
                for index in marked
            ),
            values={"answer": answer},
            targets=targets_of(expected),
            answers=expected,
            twins=_twins(draws, writer.text, walk, names),
        )


def _twins(draws: Random, text: str, walk: list[int], names: list[str]) -> tuple[Twin, ...]:
    """Another last word, of which the text shows as well what follows it; none if there is none."""
    followers: dict[int, set[int]] = {}
    for place, following in pairwise(walk):
        followers.setdefault(place, set()).add(following)
    shown = [
        place
        for place, following in followers.items()
        if place not in walk[-2:] and following == {(place + 1) % len(names)}
    ]
    if not shown:
        return ()
    place = draws.choice(shown)
    twin = text.removesuffix(names[walk[-1]]) + names[place]
    return (Twin("other_word", twin, names[(place + 1) % len(names)]),)


def _walk(rng: Random, cycle: int, length: int, chunk: int) -> tuple[list[int], list[int]]:
    """Places on the cycle, and what has followed each place wherever it occurred before (-1 where
    it is new or was once followed by a jump); the last one is known."""
    while True:
        place = rng.randrange(cycle)
        walk, said = [], []
        followers: dict[int, set[int]] = {}
        for _ in range(length):
            walk.append(place)
            before = followers.setdefault(place, set())
            said.append((place + 1) % cycle if before == {(place + 1) % cycle} else -1)
            # A jump may land on the successor by chance; that is no mistake.
            following = rng.randrange(cycle) if rng.random() < 1 / chunk else (place + 1) % cycle
            before.add(following)
            place = following
        if said[-1] >= 0:
            return walk, said
