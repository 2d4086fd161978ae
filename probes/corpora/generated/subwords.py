"""Subwords: short and long English words, which subword tokenizers cut into pieces or leave whole.

The words come in sets of which each text uses one, so a probe is scored on words that it never
saw: it cannot remember the lengths of words. The text ends by asking for the length of one of
them, which a model knows only from having learnt the word.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from probes.config import GeneratedConfig
from probes.core.errors import UserError
from probes.corpora.generated.data.word_sets import LENGTHS, word_sets
from probes.corpora.generated.kit.blocks import others
from probes.corpora.generated.kit.options import options
from probes.corpora.generated.kit.prompt import Expected, GeneratedCorpus, Prompt
from probes.corpora.generated.kit.writing import Writer, evenly

ANSWERS = {"1-3": "tiny", "4-6": "short", "7-9": "long", "10 or more": "huge"}
PER_LENGTH = 2

DEFAULTS = {"words": 6}
"""Words of a text before the question."""

DESCRIPTIONS = {
    "word_length": "letters of the word, where the whole word is read",
    "answer": "how long the word asked for is: " + ", ".join(ANSWERS.values()),
}


def generate(config: GeneratedConfig) -> GeneratedCorpus:
    """Lists of words and a question; the group is the set of words."""
    chosen = options(config.name, config.options, DEFAULTS)
    most = PER_LENGTH * len(LENGTHS)
    if not 2 <= chosen["words"] <= most:
        raise UserError(
            f"corpus.options.words={chosen['words']}",
            allowed=f"2 to {most}, the words of a set",
            fix=f"corpus.options.words={DEFAULTS['words']}",
        )
    return GeneratedCorpus(
        name=config.name,
        prompts=_prompts(config, chosen["words"]),
        group_name="set",
        default_features=("word_length", "answer"),
        descriptions=DESCRIPTIONS,
        pieces=True,
    )


def _prompts(config: GeneratedConfig, count: int) -> Iterator[Prompt]:
    rng = Random(f"{config.name} {config.seed}")
    sets = word_sets(LENGTHS, PER_LENGTH, rng)
    asked = evenly([(words, length) for words in sets for length in LENGTHS], rng)
    while True:
        words, length = next(asked)
        question = rng.choice(words[length])
        every = [word for group in words.values() for word in group]
        listed = rng.sample([question, *rng.sample(others(every, question), count - 1)], count)
        writer = Writer()
        for word in listed:
            writer.add(word, "." if word == listed[-1] else ",")
        writer.add("length", "of", question, "is")
        word = ANSWERS[length]
        answer = Expected(len(writer.text), word, others(ANSWERS.values(), word), "answer")
        yield Prompt(
            text=writer.text,
            group=" ".join(sorted(word for group in words.values() for word in group)),
            marks=tuple(
                writer.mark(2 * index, {"word_length": _length(word)})
                for index, word in enumerate(listed)
            ),
            values={"answer": word},
            targets=((answer.offset, answer.word),),
            answers=(answer,),
        )


def _length(word: str) -> str:
    return next(length for length, words in LENGTHS.items() if word in words)
