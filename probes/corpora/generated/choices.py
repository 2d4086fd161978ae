"""Multiple choice over facts: four lettered options, of which one may be missing.

Lieberum et al. 2023 (arXiv 2307.09458) found constant heads (attend to all options alike), single
letter heads (to one), and amplification and correct letter heads (to the right one). Attention
cannot be read from outputs, so what is decoded is which option a position holds, whether it is the
right one, whether all are there, and the right letter at END.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from probes.config import GeneratedConfig
from probes.corpora.generated.data.fact_table import draw_fact, wrong_answers
from probes.corpora.generated.data.fact_templates import SUBJECTS, opening, statement
from probes.corpora.generated.kit.blocks import Part, Say, blocks, others, write
from probes.corpora.generated.kit.options import options
from probes.corpora.generated.kit.prompt import GeneratedCorpus, Prompt, Twin, twin_random

LETTERS = ("A", "B", "C", "D")
RIGHT, WRONG = "right", "wrong"
"""Hint after an option."""
RELATIONS = ("capital", "continent", "category")
"""Relations with four or more answers."""

_ASK = (
    "Answer:",
    "The answer is",
    "Solution:",
    "The right letter is",
    "Correct option:",
    "So choose",
    "Choice:",
    "The key says",
    "Letter:",
    "Tick",
)

DESCRIPTIONS = {
    "option_letter": "letter of the option that the word belongs to",
    "option_is_correct": "whether the word is the right option",
    "correct_letter": "letter of the right option",
    "all_present": "whether all four options are listed",
}


def generate(config: GeneratedConfig) -> GeneratedCorpus:
    """A question, lettered options in random order, and a request for the letter."""
    options(config.name, config.options, {})
    return GeneratedCorpus(
        name=config.name,
        prompts=_prompts(Random(config.seed), twin_random(config)),
        group_name="prompt",
        default_features=(
            "correct_letter",
            "all_present",
            "option_letter",
            "option_is_correct",
        ),
        descriptions=DESCRIPTIONS,
    )


def _prompts(rng: Random, draws: Random) -> Iterator[Prompt]:
    for block in blocks():
        fact = draw_fact(rng, RELATIONS, block)
        wrong = rng.sample(wrong_answers(fact), 3)
        correct = rng.choice(LETTERS)
        held = dict(zip(others(LETTERS, correct), wrong, strict=True))
        held[correct] = fact.answer
        complete = rng.random() < 0.5
        missing = None if complete else rng.choice(others(LETTERS, correct))
        listed = [letter for letter in LETTERS if letter != missing]
        # Of the wrong options only one is judged: right and wrong are equally frequent.
        judged = rng.choice(others(listed, correct))
        begin = opening(rng, fact, block, SUBJECTS[block][fact.relation])
        asked = [begin, statement(fact, block)]
        parts: list[Part] = [*asked, Say(fact.answer), ":"]
        for letter in listed:
            values = {"option_letter": letter}
            if letter in (correct, judged):
                values["option_is_correct"] = "yes" if letter == correct else "no"
            verdict = Say(RIGHT if letter == correct else WRONG)
            parts += [f"{letter}:", (held[letter], values), verdict]
        other = draws.choice(others(listed, correct))
        exchanged = {**held, correct: held[other], other: held[correct]}
        options_of_twin = [word for x in listed for word in (f"{x}:", exchanged[x])]
        twin = write([*asked, ":", *options_of_twin, ".", _ASK[block]]).text
        said = Say(correct, others(listed, correct), "correct_letter")
        yield write([*parts, ".", _ASK[block], said]).prompt(
            block=block,
            values={"correct_letter": correct, "all_present": "yes" if complete else "no"},
            twins=[Twin("swapped_options", twin, other)],
        )
