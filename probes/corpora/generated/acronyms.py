"""Acronyms: the initials of three words, letter by letter.

Letter movers (Garcia-Carrasco et al. 2024, arXiv 2405.04156, "How does GPT-2 predict acronyms?")
bring the initial of the next word to where it is written. The words come in sets of which each
text uses one, so a probe is scored on words that it never saw.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from probes.config import GeneratedConfig
from probes.core.errors import UserError
from probes.corpora.generated.data.word_sets import LETTERS, word_sets
from probes.corpora.generated.kit.blocks import others
from probes.corpora.generated.kit.options import options
from probes.corpora.generated.kit.prompt import (
    Expected,
    GeneratedCorpus,
    Prompt,
    targets_of,
)
from probes.corpora.generated.kit.writing import Writer, evenly

DEFAULTS = {"words": 3}
"""Words of a name; the letter of the last one is the answer."""

DESCRIPTIONS = {
    "next_letter": "the initial to be written next",
    "answer": "the initial of the last word",
}


def generate(config: GeneratedConfig) -> GeneratedCorpus:
    """Names with all their initials but the last; the group is the set of words."""
    chosen = options(config.name, config.options, DEFAULTS)
    if not 2 <= chosen["words"] <= 6:
        raise UserError(
            f"corpus.options.words={chosen['words']}",
            allowed="2 to 6",
            fix=f"corpus.options.words={DEFAULTS['words']}",
        )
    letters = [f"letter_{place + 1}" for place in range(chosen["words"])]
    return GeneratedCorpus(
        name=config.name,
        prompts=_prompts(config, chosen["words"]),
        group_name="set",
        default_features=("next_letter", "answer", *letters),
        descriptions={
            **DESCRIPTIONS,
            **{name: f"the initial of word {name[-1]}, read at the colon" for name in letters},
        },
    )


def _prompts(config: GeneratedConfig, count: int) -> Iterator[Prompt]:
    rng = Random(f"{config.name} {config.seed}")
    sets = word_sets(LETTERS, 1, rng)
    last = evenly([(words, letter) for words in sets for letter in LETTERS], rng)
    while True:
        words, answer = next(last)
        letters = [*rng.sample(others(LETTERS, answer), count - 1), answer]
        writer = Writer()
        writer.add("the", *(words[letter][0] for letter in letters), ":")
        read = [len(writer.words) - 1]
        read += [writer.add(letter) for letter in letters[:-1]]
        all_letters = {f"letter_{place + 1}": letter for place, letter in enumerate(letters)}
        answers = tuple(
            Expected(
                writer.ends[index],
                letter,
                others(letters, letter),
                "answer" if index == read[-1] else "next_letter",
            )
            for index, letter in zip(read, letters, strict=True)
        )
        yield Prompt(
            text=writer.text,
            group=" ".join(sorted(word for each in words.values() for word in each)),
            marks=(
                writer.mark(read[0], {"next_letter": letters[0], **all_letters}),
                *(
                    writer.mark(index, {"next_letter": letter})
                    for index, letter in zip(read[1:], letters[1:], strict=True)
                ),
            ),
            values={"answer": answer},
            targets=targets_of(answers),
            answers=answers,
        )
