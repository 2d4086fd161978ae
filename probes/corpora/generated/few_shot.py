"""Few-shot labelling by similarity, with invented symbols in place of Omniglot's images.

In-context heads compare a query with the demonstrations and take the label of the most similar one
(Cho et al. 2024, arXiv 2410.04468; Singh et al. 2024, arXiv 2404.07129, with Omniglot). Omniglot
(Lake et al. 2015) is images; here a symbol is three invented strokes in order, and an exemplar of
it differs from the demonstration in one or more strokes. Labels are dealt anew in each prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from random import Random

from probes.config import GeneratedConfig
from probes.core.errors import UserError
from probes.corpora.generated.kit.blocks import blocks, deal, others
from probes.corpora.generated.kit.options import options
from probes.corpora.generated.kit.prompt import (
    Expected,
    GeneratedCorpus,
    Mark,
    Prompt,
    Twin,
    twin_random,
)

SHOWN = 4
LABELS = ("red", "blue", "green", "white", "black", "pink", "gold", "brown", "grey", "orange")
STROKES = 3
DEFAULTS = {"shared": 2, "queries": 4, "labels": SHOWN}
LIMITS = {"shared": (1, STROKES), "queries": (1, 8), "labels": (SHOWN, len(LABELS))}

_SLOTS = [
    deal(["".join(letters) for letters in product("bdfgklmnprstvz", vowel, ending)][:60])
    for vowel, ending in (("ai", "bx"), ("eo", "kt"), ("uy", "mp"))
]
"""(STROKES, BLOCKS) the strokes that can stand in each place."""

DESCRIPTIONS = {
    "label": "label of the demonstration most similar to the last query",
    "demonstration": "place of that demonstration among the four",
    "similar": "at the label of a demonstration: whether it is the one",
}


def generate(config: GeneratedConfig) -> GeneratedCorpus:
    """Four labelled symbols, then queries with their labels, the last one without.

    ``shared``: strokes that a query has in common with its demonstration; it has none in common
    with the others. ``queries``: how many there are; each is one more thing to learn from, with its
    label expected from the first stroke on that a demonstration has.
    ``labels``: how many there are in all; with more than are shown the prompt's words tell some of
    the answer, with which training begins.
    """
    given = options(config.name, config.options, DEFAULTS)
    for name, (least, most) in LIMITS.items():
        if not least <= given[name] <= most:
            raise UserError(
                f"corpus.options.{name}={given[name]}",
                allowed=f"{least} to {most}",
                fix=f"corpus.options.{name}={DEFAULTS[name]}",
            )
    return GeneratedCorpus(
        name=config.name,
        prompts=_prompts(Random(config.seed), twin_random(config), **given),
        group_name="prompt",
        default_features=("label", "demonstration"),
        descriptions=DESCRIPTIONS,
    )


def _prompts(
    rng: Random, draws: Random, shared: int, queries: int, labels: int
) -> Iterator[Prompt]:
    for block in blocks():
        drawn = [rng.sample(slot[block], SHOWN + 1) for slot in _SLOTS]
        symbols = list(zip(*drawn, strict=True))
        other = symbols.pop()  # the strokes that no demonstration has
        dealt = rng.sample(LABELS[:labels], SHOWN)
        asked = [rng.randrange(SHOWN) for _ in range(queries)]
        index = asked[-1]
        # Of the other demonstrations only one is judged: both classes are equally frequent.
        judged = rng.choice([number for number in range(SHOWN) if number != index])

        text = ""
        marks: list[Mark] = []
        targets: list[tuple[int, str]] = []
        answers: list[Expected] = []
        for number, (symbol, label) in enumerate(zip(symbols, dealt, strict=True)):
            text += f"{' '.join(symbol)}: {label}. "
            if number in (index, judged):
                values = {"similar": "yes" if number == index else "no"}
                marks.append(Mark(len(text) - 2 - len(label), len(text) - 2, values))
        for number in asked:
            before, label = text, dealt[number]
            kept = set(rng.sample(range(STROKES), shared))
            for place in range(STROKES):
                text += (symbols[number] if place in kept else other)[place]
                if place >= min(kept):
                    targets.append((len(text), label))  # a hint
                text += " " if place < STROKES - 1 else ":"
            targets.append((len(text), label))
            answers.append(Expected(len(text), label, others(dealt, label), "label"))
            text += f" {label}. "
        text = text[: targets[-1][0]]
        similar = draws.choice([number for number in range(SHOWN) if number != index])
        query = [(symbols[similar] if p in kept else other)[p] for p in range(STROKES)]
        twin = Twin("other_query", f"{before}{' '.join(query)}:", dealt[similar])
        yield Prompt(
            text,
            text,
            block=block,
            marks=tuple(marks),
            values={"label": dealt[index], "demonstration": f"number {index + 1}"},
            targets=tuple(targets),
            answers=tuple(answers),
            twins=(twin,),
        )
