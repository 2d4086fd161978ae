"""The same question in other words: does what a head carries depend on the wording?

Consistency heads give the same answer to paraphrases. All wordings of a fact are in one group, the
block of its subject; held-out facts come in wordings that were trained on, so that a probe for the
answer can be compared between wordings of the same fact, and the wording is a class itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from probes.config import GeneratedConfig
from probes.core.errors import UserError
from probes.corpora.generated.data.fact_table import (
    ANSWERS,
    by_block,
    draw_other,
    wrong_answers,
)
from probes.corpora.generated.data.fact_templates import STATEMENTS, SUBJECTS, opening, statement
from probes.corpora.generated.kit.blocks import Say, blocks, write
from probes.corpora.generated.kit.options import options
from probes.corpora.generated.kit.prompt import GeneratedCorpus, Prompt, Twin, twin_random

RELATIONS = ("continent", "category")
MOST = min(len(STATEMENTS[relation]) for relation in RELATIONS)
DEFAULTS = {"wordings": 6}

DESCRIPTIONS = {
    "answer": "the right answer, whatever the wording",
    "wording": "which paraphrase asks for it",
}


def generate(config: GeneratedConfig) -> GeneratedCorpus:
    """Each fact in each of the first ``wordings`` wordings of its relation."""
    wordings = options(config.name, config.options, DEFAULTS)["wordings"]
    if not 2 <= wordings <= MOST:
        raise UserError(
            f"corpus.options.wordings={wordings}",
            allowed=f"2 to {MOST}",
            fix="corpus.options.wordings=6",
        )
    return GeneratedCorpus(
        name=config.name,
        prompts=_prompts(Random(config.seed), twin_random(config), wordings),
        group_name="subject",
        default_features=("answer", "wording"),
        descriptions=DESCRIPTIONS,
    )


def _prompts(rng: Random, draws: Random, wordings: int) -> Iterator[Prompt]:
    tables = {relation: by_block(relation) for relation in RELATIONS}
    answers = [(relation, answer) for relation in RELATIONS for answer in ANSWERS[relation]]
    for block in blocks():
        relation, answer = rng.choice(answers)
        fact = rng.choice(tables[relation][block][answer])
        for wording in rng.sample(range(wordings), wordings):
            begin = opening(rng, fact, wording, SUBJECTS[block][relation])
            said = Say(answer, tuple(wrong_answers(fact)), "answer")
            other = draw_other(draws, fact, begin)
            twin = write([begin, statement(other, wording)]).text
            yield write([begin, statement(fact, wording), said]).prompt(
                fact.subject,
                block=block,
                values={"answer": answer, "wording": f"wording {wording}"},
                twins=[Twin("other_subject", twin, other.answer)],
            )
