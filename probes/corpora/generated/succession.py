"""Succession: what comes next among numbers, days, months and letters.

Successor heads (Gould et al. 2023, arXiv 2312.09230) add one to ordinal words of any kind; the
features by which they do it tell numbers modulo 10. Each text has finished successions of other
kinds before the one that is asked for, so that the words present do not say which one it is.

``successor`` is asked of days, months and letters, grouped by the wording of the texts: all
classes occur in every split. ``modulo_10`` is asked of numbers, grouped by the number, so that a
probe cannot remember it for each number.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from random import Random

from probes.config import GeneratedConfig
from probes.core.errors import UserError
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
from probes.corpora.generated.kit.writing import Writer, evenly, words

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = words(
    """
    January February March April May June July August September October November December
    """
)
CYCLIC = {"day": DAYS, "month": MONTHS}

OPENINGS = ["after", "right after", "just after", "straight after", "directly after"]
OPENINGS += ["immediately after", "shortly after", "one step after"]
MIDDLES = ["comes", "we find", "there is", "stands", "you see", "follows", "they put", "we say"]

DEFAULTS = {"letters": 12, "numbers": 100, "shots": 2}
"""How many letters (from A) and numbers (from 10) have successors to be asked for; finished
successions before the question."""

DESCRIPTIONS = {
    "successor": "what comes next, of days, months and letters",
    "kind": "day, month, letter or number",
    "modulo_10": "last digit of the number that comes next",
    "answer": "what comes next, of days, months and letters",
}


def generate(config: GeneratedConfig) -> GeneratedCorpus:
    """Successions with their last element to be said."""
    chosen = options(config.name, config.options, DEFAULTS)
    for name, low, high in (("letters", 2, 25), ("numbers", 20, 900), ("shots", 0, 3)):
        if not low <= chosen[name] <= high:
            raise UserError(
                f"corpus.options.{name}={chosen[name]}",
                allowed=f"{low} to {high}",
                fix=f"corpus.options.{name}={DEFAULTS[name]}",
            )
    return GeneratedCorpus(
        name=config.name,
        prompts=_prompts(config, chosen),
        group_name="wording",
        default_features=("successor", "kind", "modulo_10"),
        descriptions=DESCRIPTIONS,
    )


def _pairs(chosen: dict[str, int]) -> dict[str, list[tuple[str, str]]]:
    """Kind -> all elements with their successors."""
    pairs = {
        kind: list(zip(names, names[1:] + names[:1], strict=True)) for kind, names in CYCLIC.items()
    }
    letters = [chr(ord("A") + place) for place in range(chosen["letters"] + 1)]
    pairs["letter"] = list(pairwise(letters))
    pairs["number"] = [(str(n), str(n + 1)) for n in range(10, 10 + chosen["numbers"])]
    return pairs


def _alternatives(kind: str, pairs: list[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Successor -> the others of its kind; of numbers, which are many, the element itself."""
    if kind == "number":
        return {successor: (element,) for element, successor in pairs}
    successors = [successor for _, successor in pairs]
    return {successor: others(successors, successor) for successor in successors}


def _prompts(config: GeneratedConfig, chosen: dict[str, int]) -> Iterator[Prompt]:
    rng, draws = Random(f"{config.name} {config.seed}"), twin_random(config)
    pairs = _pairs(chosen)
    wrong = {kind: _alternatives(kind, of_kind) for kind, of_kind in pairs.items()}
    words = evenly([(k, pair) for k in ("day", "month", "letter") for pair in pairs[k]], rng)
    numbers = evenly(pairs["number"], rng)
    while True:
        if rng.random() < 1 / 4:
            kind, (element, successor) = "number", next(numbers)
        else:
            kind, (element, successor) = next(words)
        opening, middle = rng.choice(OPENINGS), rng.choice(MIDDLES)
        writer = Writer()
        answers = []
        other_kinds = rng.sample([name for name in pairs if name != kind], chosen["shots"])
        shots = [(other, *rng.choice(pairs[other])) for other in other_kinds]
        for of_kind, shown, following in [*shots, (kind, element, successor)]:
            before = writer.text
            end = writer.ends[writer.add(*opening.split(), shown, *middle.split())]
            feature = "" if of_kind == "number" else "successor"
            answers.append(Expected(end, following, wrong[of_kind][following], feature))
            writer.add(following, ".")
        text = writer.text[: answers[-1].offset]
        other, of_other = draws.choice([pair for pair in pairs[kind] if pair[0] != element])
        twin = f"{before} {opening} {other} {middle}".strip()
        values = {"kind": kind}
        if kind == "number":
            values["modulo_10"] = successor[-1]
        else:
            values["successor"] = values["answer"] = successor
        yield Prompt(
            text=text,
            group=element if kind == "number" else f"{opening} {middle}",
            values=values,
            targets=targets_of(answers),
            answers=tuple(answers),
            twins=(Twin("other_element", twin, of_other),),
        )
