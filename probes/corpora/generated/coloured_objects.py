"""Objects of different colours: what is the colour of the one asked for?

After the reasoning task of BIG-bench (Srivastava et al. 2022, arXiv 2206.04615), whose circuit
shares heads with that of indirect objects (Merullo et al. 2024, arXiv 2310.08744). Colours are the
classes; objects and templates belong to blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from probes.config import GeneratedConfig
from probes.core.errors import UserError
from probes.corpora.generated.kit.blocks import (
    Part,
    Say,
    blocks,
    deal_words,
    others,
    write,
)
from probes.corpora.generated.kit.options import options
from probes.corpora.generated.kit.prompt import GeneratedCorpus, Prompt, Twin, twin_random

COLOURS = ("red", "blue", "green", "yellow", "black", "white", "brown", "grey")
DEFAULTS = {"objects": 3, "questions": 1}

_THINGS = deal_words(
    """ball cup pen book lamp hat plate shoe key box chair bowl candle scarf phone bottle
    pencil basket spoon mirror glove watch bag ring blanket clock coat vase knife pillow
    letter camera bell brush button drum fork kettle ladder mug"""
)
_BEGIN = (
    "On the table there are",
    "In the room we see",
    "The shop window shows",
    "Somebody left behind",
    "A child has drawn",
    "Under the bed lie",
    "The suitcase contains",
    "My aunt has bought",
    "At the market they sell",
    "The picture is of",
)
_ASK = (
    "The colour of the {} is",
    "You ask about the {}: it is",
    "Look at the {}, which is",
    "Everybody knows that the {} is",
    "As for its colour, the {} is",
    "If you take the {}, you hold something",
    "We say of the {} that it is",
    "The paint on the {} looks",
    "Without doubt the {} is",
    "Its owner says the {} is",
)

DESCRIPTIONS = {
    "colour": "colour of the object asked for",
    "own_colour": "at an object: its colour",
    "place": "place of the object asked for in the list",
}


def generate(config: GeneratedConfig) -> GeneratedCorpus:
    """``objects`` coloured objects in a list and a question for one of them.

    ``questions``: how many there are, all but the last with their answers and for any object; more
    train a simplified model sooner, and may tell the last answer.
    """
    given = options(config.name, config.options, DEFAULTS)
    for name, least, most in (("objects", 2, min(map(len, _THINGS))), ("questions", 1, 8)):
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
        default_features=("colour", "own_colour", "place"),
        descriptions=DESCRIPTIONS,
    )


def _prompts(rng: Random, draws: Random, objects: int, questions: int) -> Iterator[Prompt]:
    for block in blocks():
        things = rng.sample(_THINGS[block], objects)
        colours = rng.sample(COLOURS, objects)
        parts: list[Part] = [_BEGIN[block]]
        for number, (thing, colour) in enumerate(zip(things, colours, strict=True)):
            joint = "" if not number else "and" if number == objects - 1 else ","
            parts += [joint, f"a {colour}", (thing, {"own_colour": colour})]
        for _ in range(questions):
            asked = rng.randrange(objects)
            colour = colours[asked]
            said = Say(colour, others(colours, colour), "colour")
            parts += [".", _ASK[block].format(things[asked]), said, colour]
        other = draws.choice([number for number in range(objects) if number != asked])
        twin = write([*parts[:-3], _ASK[block].format(things[other])]).text
        yield write(parts[:-1]).prompt(
            block=block,
            values={"colour": colours[asked], "place": f"number {asked + 1}"},
            twins=[Twin("other_object", twin, colours[other])],
        )
