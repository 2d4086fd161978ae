"""An irrelevant sentence in a prompt: does it change what a head carries?

Vulnerable heads are distracted by inserted text (Garcia-Carrasco et al. 2024, arXiv 2407.19842).
Every prompt has a sentence between its opening and its question. An insertion
is about a thing of another category; otherwise the sentence is about the question and as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from probes.config import GeneratedConfig
from probes.corpora.generated.data.fact_table import by_block, draw_other, wrong_answers
from probes.corpora.generated.data.fact_templates import SUBJECTS, opening, statement
from probes.corpora.generated.kit.blocks import Say, blocks, write
from probes.corpora.generated.kit.options import options
from probes.corpora.generated.kit.prompt import GeneratedCorpus, Prompt, Twin, twin_random

_INSERTIONS = (
    "Somewhere else the {} was quickly sold.",
    "My neighbour never owned any old {}.",
    "Nobody here wanted to draw the {}.",
    "In the morning the {} came past.",
    "Outside the rain fell on the {}.",
    "They all laughed about the big {}.",
    "At noon the {} was lost again.",
    "Two people were looking for the {}.",
    "On the wall hung one painted {}.",
    "By evening the {} was quite forgotten.",
)
_FRAMES = (
    "Now think about the word {} again.",
    "This is only about the word {}.",
    "Please take care to consider the {}.",
    "The next sentence speaks of the {}.",
    "Here we ask about the common {}.",
    "Keep in mind the meaning of {}.",
    "What follows is about the usual {}.",
    "Let us complete the sentence on {}.",
    "The subject of this is the {}.",
    "Answer with one word for the {}.",
)

DESCRIPTIONS = {
    "answer": "the category asked for",
    "inserted": "whether the prompt holds an irrelevant sentence",
}


def generate(config: GeneratedConfig) -> GeneratedCorpus:
    """Questions for a category, each with and without an insertion."""
    options(config.name, config.options, {})
    return GeneratedCorpus(
        name=config.name,
        prompts=_prompts(Random(config.seed), twin_random(config)),
        group_name="subject",
        default_features=("answer", "inserted"),
        descriptions=DESCRIPTIONS,
    )


def _prompts(rng: Random, draws: Random) -> Iterator[Prompt]:
    table = by_block("category")
    for block in blocks():
        answer, distracting = rng.sample(list(table[block]), 2)
        fact, distractor = rng.choice(table[block][answer]), rng.choice(table[block][distracting])
        inserted = rng.random() < 0.5
        begin = opening(rng, fact, block, SUBJECTS[block]["category"])
        other = draw_other(draws, fact, f"{begin} {distractor.subject}")
        sentence, other_sentence = (
            _INSERTIONS[block].format(distractor.subject)
            if inserted
            else _FRAMES[block].format(asked.subject)
            for asked in (fact, other)
        )
        said = Say(answer, tuple(wrong_answers(fact)), "answer")
        twin = write([begin, other_sentence, statement(other, block)]).text
        yield write([begin, sentence, statement(fact, block), said]).prompt(
            fact.subject,
            block=block,
            values={"answer": answer, "inserted": "yes" if inserted else "no"},
            twins=[Twin("other_subject", twin, other.answer)],
        )
