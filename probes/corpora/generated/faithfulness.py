"""A story contradicts what is known, and somebody answers: from the story, or from knowledge?

Faithful answers follow the reasoning in the text rather than the prior (Tanneru et al. 2024, arXiv
2406.10625). A third kind of answer follows neither, so that a word which is not repeated does not
yet give the prior away: the source takes the story and the fact together.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from probes.config import GeneratedConfig
from probes.corpora.generated.data.fact_table import draw_fact, wrong_answers
from probes.corpora.generated.data.fact_templates import SUBJECTS, opening, statement
from probes.corpora.generated.kit.blocks import Part, Say, blocks, others, write
from probes.corpora.generated.kit.options import options
from probes.corpora.generated.kit.prompt import GeneratedCorpus, Prompt

RELATIONS = ("continent", "category")
SOURCES = {"context": "story", "prior": "world", "neither": "nothing"}
"""Class -> the word that a model answers with."""

_STORY = (
    "In the story:",
    "The tale says:",
    "A book claims:",
    "The novel begins:",
    "The legend tells:",
    "The text reads:",
    "The letter says:",
    "One page states:",
    "The song goes:",
    "The film opens:",
)
_NAMES = ["Anna", "Boris", "Clara", "David", "Emma", "Felix", "Greta", "Henry", "Irene", "Jonas"]

DESCRIPTIONS = {
    "source": "whether the answer follows the story, the fact, or neither",
    "answer_source": "the same, read at the answer itself",
}


def generate(config: GeneratedConfig) -> GeneratedCorpus:
    """A false claim, an answer to the question it settles, and what the answer follows."""
    options(config.name, config.options, {})
    return GeneratedCorpus(
        name=config.name,
        prompts=_prompts(Random(config.seed)),
        group_name="prompt",
        default_features=("source", "answer_source"),
        descriptions=DESCRIPTIONS,
    )


def _prompts(rng: Random) -> Iterator[Prompt]:
    for block in blocks():
        fact = draw_fact(rng, RELATIONS, block)
        told, neither = rng.sample(wrong_answers(fact), 2)
        source = rng.choice(list(SOURCES))
        answer = {"context": told, "prior": fact.answer, "neither": neither}[source]
        begin = opening(rng, fact, block, SUBJECTS[block][fact.relation])
        word = SOURCES[source]
        parts: list[Part] = [begin, _STORY[block], statement(fact, block), Say(fact.answer)]
        parts += [told, ".", _NAMES[block], "answers:", (answer, {"answer_source": source})]
        parts += [Say(word), ".", "This answer follows the"]
        said = Say(word, others(SOURCES.values(), word), "source")
        yield write([*parts, said]).prompt(block=block, values={"source": source})
