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
from probes.corpora.generated.data.fact_table import ANSWERS, by_block
from probes.corpora.generated.data.fact_templates import SUBJECTS, opening, statement
from probes.corpora.generated.kit.blocks import Part, Say, blocks, write_with_targets
from probes.corpora.generated.kit.options import options
from probes.corpora.generated.kit.prompt import Generated, Prompt

LETTERS = ("A", "B", "C", "D")
RIGHT, WRONG = "right", "wrong"
"""What a model says of an option."""
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


def generate(config: GeneratedConfig) -> Generated:
    """A question, lettered options in random order, and a request for the letter."""
    options(config.name, config.options, {})
    return Generated(
        name=config.name,
        prompts=_prompts(Random(config.seed)),
        group_name="prompt",
        default_features=(
            "correct_letter",
            "all_present",
            "option_letter",
            "option_is_correct",
        ),
        descriptions=DESCRIPTIONS,
    )


def _prompts(rng: Random) -> Iterator[Prompt]:
    tables = {relation: by_block(relation) for relation in RELATIONS}
    for block in blocks():
        relation = rng.choice(RELATIONS)
        facts = tables[relation][block]
        fact = rng.choice(facts[rng.choice(list(facts))])
        # Capitals of other blocks would cross the split.
        possible = list(facts) if relation == "capital" else ANSWERS[relation]
        wrong = rng.sample([answer for answer in possible if answer != fact.answer], 3)
        correct = rng.choice(LETTERS)
        held = dict(zip([x for x in LETTERS if x != correct], wrong, strict=True))
        held[correct] = fact.answer
        complete = rng.random() < 0.5
        missing = None if complete else rng.choice([x for x in LETTERS if x != correct])
        # Of the wrong options only one is judged: right and wrong are equally frequent.
        judged = rng.choice([x for x in LETTERS if x not in (correct, missing)])
        begin = opening(rng, fact, block, SUBJECTS[block][relation])
        parts: list[Part] = [begin, statement(fact, block), Say(fact.answer), ":"]
        for letter in LETTERS:
            if letter != missing:
                values = {"option_letter": letter}
                if letter in (correct, judged):
                    values["option_is_correct"] = "yes" if letter == correct else "no"
                said = Say(RIGHT if letter == correct else WRONG)
                parts += [f"{letter}:", (held[letter], values), said]
        text, marks, targets = write_with_targets([*parts, ".", _ASK[block], Say(correct)])
        yield Prompt(
            text,
            text,
            block=block,
            marks=marks,
            values={"correct_letter": correct, "all_present": "yes" if complete else "no"},
            targets=targets,
        )
