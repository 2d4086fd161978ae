"""Yes or no: a claim is true or false, and the question may be turned round.

Negative heads push a decision towards no whatever the facts (Yu et al. 2024, arXiv 2408.00137).
Half of the questions ask whether the claim is wrong, so that the truth of the claim and the word
of the answer are independent and a probe cannot have one for the other.
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

RELATIONS = ("continent", "currency", "category")
"""Those of which a false claim is plainly false."""

RIGHT, WRONG = "right", "wrong"
"""Hint after the claim, before the question."""

_RIGHT = (
    "Is this right?",
    "Is that so?",
    "Is the claim true?",
    "Does this hold?",
    "Is this correct?",
    "Did they say the truth?",
    "Is it a fact?",
    "Can we believe that?",
    "Would an expert agree?",
    "Are they sure to be right?",
)
_WRONG = (
    "Is this wrong?",
    "Is that a mistake?",
    "Is the claim false?",
    "Does this fail?",
    "Is this incorrect?",
    "Did they lie?",
    "Is it a myth?",
    "Must we doubt that?",
    "Would an expert object?",
    "Are they sure to be mistaken?",
)

DESCRIPTIONS = {
    "truth": "whether the claim is true",
    "answer_word": "whether the right answer is yes or no",
    "question": "whether the question asks if the claim is right or if it is wrong",
}


def generate(config: GeneratedConfig) -> GeneratedCorpus:
    """A claim, a question about it, and a request for yes or no."""
    options(config.name, config.options, {})
    return GeneratedCorpus(
        name=config.name,
        prompts=_prompts(Random(config.seed), twin_random(config)),
        group_name="prompt",
        default_features=("truth", "answer_word"),
        descriptions=DESCRIPTIONS,
    )


def _prompts(rng: Random, draws: Random) -> Iterator[Prompt]:
    for block in blocks():
        fact = draw_fact(rng, RELATIONS, block)
        true = rng.random() < 0.5
        false = wrong_answers(fact)
        claimed = fact.answer if true else rng.choice(false)
        turned = rng.random() < 0.5
        answer = "yes" if true != turned else "no"
        begin = opening(rng, fact, block, SUBJECTS[block][fact.relation])
        question = (_WRONG if turned else _RIGHT)[block]
        claim = [begin, statement(fact, block)]
        parts: list[Part] = [*claim, Say(fact.answer), claimed, Say(RIGHT if true else WRONG)]
        parts += [".", question, "Answer:"]
        (other,) = others(("yes", "no"), answer)
        reversed_claim = draws.choice(false) if true else fact.answer
        twin = write([*claim, reversed_claim, ".", question, "Answer:"]).text
        yield write([*parts, Say(answer, (other,), "answer_word")]).prompt(
            block=block,
            values={
                "truth": "true" if true else "false",
                "answer_word": answer,
                "question": "wrong" if turned else "right",
            },
            twins=[Twin("other_claim", twin, other)],
        )
