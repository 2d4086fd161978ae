"""Markov chains: each text has its own sparse table of transitions, to be learnt in context.

Some states have one successor, the others several. In-context Markov chains (Edelman et al. 2024,
arXiv 2402.11004) are solved by statistical induction heads; here the targets are the states whose
successor is certain and has been seen, so that every target can be said.
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
    targets_of,
)
from probes.corpora.generated.kit.writing import Writer, evenly

DEFAULTS = {"states": 10, "branching": 3, "successors": 3, "length": 64, "marked": 16,
            "vocabulary": "invented"}  # fmt: skip
"""States of each table; how many of them have several successors; how many; words of a text; words
of a text at which features are read; which words: ``invented`` or ``common`` ones."""

DESCRIPTIONS = {
    "state": "the word itself",
    "next_state": "the only state that follows, seen earlier in the text",
    "answer": "the state that follows the last one",
}


def generate(config: GeneratedConfig) -> GeneratedCorpus:
    """Walks of ``length`` words through tables of their own, ending where the next is certain."""
    chosen = options(config.name, config.options, DEFAULTS)
    for name, low, high in (
        ("states", 3, most_words(chosen["vocabulary"])),
        ("branching", 0, chosen["states"] - 1),
        ("successors", 2, chosen["states"] - 1),
        ("length", 2 * chosen["states"], 100_000),
        ("marked", 1, 100_000),
    ):
        if not low <= chosen[name] <= high:
            raise UserError(
                f"corpus.options.{name}={chosen[name]} (with states={chosen['states']})",
                allowed=f"{low} to {high}",
                fix=f"corpus.options.{name}={low if chosen[name] < low else high}",
            )
    return GeneratedCorpus(
        name=config.name,
        prompts=_prompts(config, chosen),
        group_name="table",
        default_features=("state", "next_state", "answer"),
        descriptions=DESCRIPTIONS,
    )


def _prompts(config: GeneratedConfig, chosen: dict[str, Any]) -> Iterator[Prompt]:
    rng = Random(f"{config.name} {config.seed}")
    words = task_words(chosen, chosen["states"])
    answers = evenly(words, rng)
    while True:
        table = _table(rng, chosen["states"], chosen["branching"], chosen["successors"])
        walk, known = _walk(rng, table, chosen["length"])
        if not known or known[-1] != len(walk) - 1:
            continue
        answer = next(answers)
        names = rng.sample([word for word in words if word != answer], len(words) - 1)
        names.insert(table[walk[-1]][0], answer)
        writer = Writer()
        writer.add(*(names[state] for state in walk))
        marked = sorted(rng.sample(known, min(chosen["marked"], len(known))))
        wrong = {name: others(names, name) for name in names}
        successor = {index: names[table[walk[index]][0]] for index in known}
        expected = tuple(
            Expected(
                writer.ends[index],
                word,
                wrong[word],
                "answer" if index == len(walk) - 1 else "next_state",
            )
            for index, word in successor.items()
        )
        yield Prompt(
            text=writer.text,
            group=" ".join(
                f"{name}>{'|'.join(sorted(names[state] for state in following))}"
                for name, following in sorted(zip(names, table, strict=True))
            ),
            marks=tuple(
                writer.mark(
                    index,
                    {"state": names[walk[index]], "next_state": successor[index]},
                )
                for index in marked
            ),
            values={"answer": answer},
            targets=targets_of(expected),
            answers=expected,
        )


def _table(rng: Random, states: int, branching: int, successors: int) -> list[list[int]]:
    """The successors of each state; a cycle through all states keeps every one within reach."""
    order = rng.sample(range(states), states)
    table = [[order[(order.index(state) + 1) % states]] for state in range(states)]
    for state in rng.sample(range(states), branching):
        others = [other for other in range(states) if other not in (state, table[state][0])]
        table[state] += rng.sample(others, successors - 1)
    return table


def _walk(rng: Random, table: list[list[int]], length: int) -> tuple[list[int], list[int]]:
    """A random walk, and the indices of its states whose one successor has been seen before."""
    walk = [rng.randrange(len(table))]
    while len(walk) < length:
        walk.append(rng.choice(table[walk[-1]]))
    seen: set[int] = set()
    known = []
    for index, state in enumerate(walk):
        if state in seen and len(table[state]) == 1:
            known.append(index)
        seen.add(state)
    return walk, known
