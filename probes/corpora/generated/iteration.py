"""Iteration: an automaton reads an input, and its states are written out one after another.

Iteration heads (Cabannes et al. 2024, arXiv 2406.02128) find, while the states are written, the
input of the next step; the state before it is the word just written. Neither alone says the next
state.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from probes.config import GeneratedConfig
from probes.core.errors import UserError, closest
from probes.corpora.generated.kit.blocks import others
from probes.corpora.generated.kit.options import options
from probes.corpora.generated.kit.prompt import (
    Expected,
    GeneratedCorpus,
    Prompt,
    targets_of,
)
from probes.corpora.generated.kit.writing import Writer, evenly


@dataclass(frozen=True)
class Automaton:
    """States, inputs, and the next state of each state and input; it begins in the first state."""

    states: tuple[str, ...]
    inputs: tuple[str, ...]
    next: tuple[tuple[int, ...], ...]
    """``next[state][input]``."""


AUTOMATA = {
    "parity": Automaton(("even", "odd"), ("a", "b"), ((0, 1), (1, 0))),
    "modulo_3": Automaton(
        ("zero", "one", "two"), ("a", "b", "c"), ((0, 1, 2), (1, 2, 0), (2, 0, 1))
    ),
    "permutation": Automaton(("left", "middle", "right"), ("a", "b"), ((1, 1), (0, 2), (2, 0))),
    "flip_flop": Automaton(("off", "on"), ("a", "b", "c"), ((0, 0, 1), (1, 0, 1))),
}
"""``permutation``: a swaps left and middle, b turns all three. ``flip_flop``: a keeps, b and c
set."""

DEFAULTS = {"automaton": "parity", "length": 12}
"""Which automaton; inputs of a text."""

DESCRIPTIONS = {
    "state": "the state after the next step",
    "step_input": "what the next step reads",
    "final_state": "the state after all inputs",
}


def generate(config: GeneratedConfig) -> GeneratedCorpus:
    """Inputs and the states after each of them but the last, which is said at END."""
    chosen = options(config.name, config.options, DEFAULTS)
    if chosen["automaton"] not in AUTOMATA:
        raise UserError(
            f"corpus.options.automaton={chosen['automaton']}",
            allowed=", ".join(AUTOMATA),
            fix=closest(chosen["automaton"], list(AUTOMATA), "corpus.options.automaton={}"),
        )
    if not 2 <= chosen["length"] <= 1000:
        raise UserError(
            f"corpus.options.length={chosen['length']}",
            allowed="2 to 1000",
            fix=f"corpus.options.length={DEFAULTS['length']}",
        )
    return GeneratedCorpus(
        name=config.name,
        prompts=_prompts(config, AUTOMATA[chosen["automaton"]], chosen["length"]),
        group_name="input",
        default_features=("state", "step_input", "final_state"),
        descriptions=DESCRIPTIONS,
    )


def _prompts(config: GeneratedConfig, automaton: Automaton, length: int) -> Iterator[Prompt]:
    rng = Random(f"{config.name} {config.seed}")
    wanted = evenly(range(len(automaton.states)), rng)
    final = next(wanted)
    while True:
        inputs = rng.choices(range(len(automaton.inputs)), k=length)
        states = [0]
        for symbol in inputs:
            states.append(automaton.next[states[-1]][symbol])
        if states[-1] != final:
            continue
        final = next(wanted)
        writer = Writer()
        writer.add(*(automaton.inputs[symbol] for symbol in inputs), ":")
        said = [writer.add(automaton.states[state]) for state in states[:-1]]
        after = [automaton.states[state] for state in states[1:]]
        answers = tuple(
            Expected(
                writer.ends[index],
                state,
                others(automaton.states, state),
                "final_state" if index == said[-1] else "state",
            )
            for index, state in zip(said, after, strict=True)
        )
        yield Prompt(
            text=writer.text,
            group=" ".join(writer.words[:length]),
            marks=tuple(
                writer.mark(index, {"state": state, "step_input": automaton.inputs[symbol]})
                for index, state, symbol in zip(said, after, inputs, strict=True)
            ),
            values={"final_state": after[-1]},
            targets=targets_of(answers),
            answers=answers,
        )
