"""Mood stories with a summary position: the comma just before the end.

As in ``reviews``, sentiment is summed up at punctuation (Tigges et al. 2023, arXiv 2310.15154). A
story is about two people of opposite tastes, and the one asked for counts: neither a word nor the
last word gives the sentiment away, and all evaluative words of the test split are new.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from probes.config import GeneratedConfig
from probes.core.errors import UserError
from probes.corpora.generated.kit.blocks import Part, Say, blocks, deal_words
from probes.corpora.generated.kit.options import options
from probes.corpora.generated.kit.prompt import GeneratedCorpus, Prompt
from probes.corpora.generated.kit.sentiment import (
    DEFAULT_FEATURES,
    DESCRIPTIONS,
    OPPOSITE,
    WORDS,
    sentiment_prompt,
)

DEFAULTS = {"opposed": True, "people": 2, "scenes": 1}

TASTES = {
    "positive": deal_words(
        """loves enjoys likes adores treasures cherishes welcomes seeks craves celebrates
        savours prefers embraces values favours desires relishes appreciates admires
        wants"""
    ),
    "negative": deal_words(
        """hates detests dislikes loathes avoids fears resents shuns dreads despises
        abhors rejects escapes curses flees mocks scorns regrets condemns refuses"""
    ),
}
_ACTIVITIES = deal_words(
    """parties concerts football chess swimming cooking gardening hiking painting dancing
    singing travel shopping museums picnics sailing skiing camping fishing weddings opera
    poetry puzzles running cycling baking knitting theatre circus parades"""
)
_PEOPLE = deal_words(
    """Anna Boris Clara David Emma Felix Greta Henry Irene Jonas Karen Louis Maria Nora
    Oscar Paula Quentin Rosa Simon Tina Ulrich Vera Walter Yvonne Zoe Adam Bella Carl Dora
    Erik Frida Georg Hilda Igor Julia Klaus Laura Martin Nina Otto"""
)
_INVITED = (
    "Today there is {} for {}",
    "This evening it is {} again for {}",
    "A letter about {} reached {} today",
    "Their school has planned {} with {}",
    "On Sunday a day of {} waits for {}",
    "The family chose {} to surprise {}",
    "Next week means {} for {}",
    "The tour begins with {} and {}",
    "The club has picked {} and called {}",
    "After lunch it is {} that awaits {}",
)
_FEELS = (
    "who feels",
    "who now is in a mood that is",
    "whose mood is",
    "who calls the day",
    "whose thoughts are",
    "who finds that",
    "which seems",
    "for whom this is",
    "to whom it looks",
    "who thinks that is",
)


def generate(config: GeneratedConfig) -> GeneratedCorpus:
    """People and their tastes, scenes for one of them each, and a request for the mood.

    ``opposed``: the tastes of the one asked for and of another are opposite; false: independent, so
    that the words alone tell some answers. ``people``: how many there are; a third one has any
    taste. ``scenes``: how many there are, each for one of them; the last one counts. More people
    and scenes train a simplified model sooner.
    """
    given = options(config.name, config.options, DEFAULTS)
    if given["scenes"] < 1:
        raise UserError(f"corpus.options.scenes={given['scenes']}", allowed="1 or more")
    most = min(map(len, _PEOPLE))
    if not 2 <= given["people"] <= most:
        raise UserError(
            f"corpus.options.people={given['people']}",
            allowed=f"2 to {most}",
            fix="corpus.options.people=2",
        )
    return GeneratedCorpus(
        name=config.name,
        prompts=_prompts(Random(config.seed), **given),
        group_name="prompt",
        default_features=DEFAULT_FEATURES,
        descriptions=DESCRIPTIONS,
    )


def _prompts(rng: Random, opposed: bool, people: int, scenes: int) -> Iterator[Prompt]:
    for block in blocks():
        sentiment = rng.choice(list(OPPOSITE))
        asked, other, *more = rng.sample(_PEOPLE[block], people)
        activity = rng.choice(_ACTIVITIES[block])
        contrary = OPPOSITE[sentiment] if opposed else rng.choice(list(OPPOSITE))
        tastes = {asked: sentiment, other: contrary}
        tastes |= {name: rng.choice(list(OPPOSITE)) for name in more}
        verbs = {name: rng.choice(TASTES[taste][block]) for name, taste in tastes.items()}
        parts: list[Part] = []
        for name in rng.sample(list(tastes), people):
            taste = tastes[name]
            parts += [name, (verbs[name], {"judgement": taste}), Say(WORDS[taste]), activity, "."]
        for name in [*rng.choices(list(tastes), k=scenes - 1), asked]:
            before, after = _INVITED[block].format(activity, name).split(name)
            parts += [before + name, Say(verbs[name]), after.strip(), "."]
        del parts[-1]
        yield sentiment_prompt(parts, _FEELS[block], block, sentiment)
