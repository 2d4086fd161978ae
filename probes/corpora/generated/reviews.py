"""Film reviews and mood stories with a summary position: the comma just before the end.

Tigges et al. 2023 (arXiv 2310.15154) found that sentiment is summed up at punctuation, where
heads near the end read it. A review judges three times, with negations, and the majority counts;
a story is about two people of opposite tastes, and the one asked for counts. Neither a word nor
the last word gives the sentiment away, and all evaluative words of the test split are new.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from probes.config import GeneratedConfig
from probes.core.errors import UserError
from probes.corpora.generated.kit.blocks import Part, Say, blocks, deal_words, write_with_targets
from probes.corpora.generated.kit.options import options
from probes.corpora.generated.kit.prompt import Generated, Prompt

JUDGEMENTS = {
    "positive": deal_words(
        """wonderful superb brilliant delightful charming excellent marvellous splendid
        gripping moving clever witty elegant fresh inspired lively touching stunning
        beautiful remarkable captivating enchanting impressive magnificent masterful
        outstanding perfect fine pleasing engaging"""
    ),
    "negative": deal_words(
        """awful dreadful terrible dull boring tedious clumsy poor shallow ugly horrible
        weak lazy stale pointless lifeless tiresome messy annoying dire mediocre laughable
        wooden bland miserable pathetic sloppy vile irritating forgettable"""
    ),
}
_ASPECTS = deal_words(
    """acting plot music script camera ending dialogue cast pacing humour costume lighting
    casting editing opening story scenery soundtrack hero villain direction photography
    choreography narration finale stunt animation twist mood setting"""
)
_WATCHED = (
    "We saw it at home on Monday",
    "I watched it with my parents",
    "They showed it on the plane",
    "It ran for nearly three hours",
    "Our tickets were bought last week",
    "The cinema was almost full",
    "A friend had lent us the disc",
    "It came out in the spring",
    "My brother had already seen it",
    "There was a break after an hour",
)
_OVERALL = (
    "and overall the film was",
    "and all in all it was",
    "so we found the film",
    "and on the whole it was",
    "and in sum the result was",
    "so my verdict is",
    "and to conclude it was",
    "so I call this film",
    "and in the end it felt",
    "so our judgement was",
)

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
_OPPOSITE = {"positive": "negative", "negative": "positive"}

DEFAULTS: dict[str, dict[str, Any]] = {
    "reviews": {},
    "moods": {"opposed": True, "people": 2, "scenes": 1},
}
WORDS = {"positive": "good", "negative": "bad"}
"""Class -> the word by which a model says it."""

DESCRIPTIONS = {
    "sentiment": "sentiment that the answer depends on",
    "summary_sentiment": "the same, read at the comma before the end",
    "judgement": "sentiment of one evaluative word with its negation",
}


def generate(config: GeneratedConfig) -> Generated:
    """``reviews`` or ``moods``, by the config's name.

    Of ``moods``: ``opposed``: the tastes of the one asked for and of another are opposite; false:
    independent, so that the words alone tell some answers. ``people``: how many there are; a third
    one has any taste. ``scenes``: how many there are, each for one of them; the last one counts.
    More people and scenes train a simplified model sooner.
    """
    given = options(config.name, config.options, DEFAULTS[config.name])
    if given.get("scenes", 1) < 1:
        raise UserError(f"corpus.options.scenes={given['scenes']}", allowed="1 or more")
    most = min(map(len, _PEOPLE))
    if not 2 <= given.get("people", 2) <= most:
        raise UserError(
            f"corpus.options.people={given['people']}",
            allowed=f"2 to {most}",
            fix="corpus.options.people=2",
        )
    rng = Random(config.seed)
    return Generated(
        name=config.name,
        prompts=_moods(rng, **given) if config.name == "moods" else _reviews(rng),
        group_name="prompt",
        default_features=("sentiment", "summary_sentiment", "judgement"),
        descriptions=DESCRIPTIONS,
    )


def _reviews(rng: Random) -> Iterator[Prompt]:
    for block in blocks():
        sentiment = rng.choice(list(_OPPOSITE))
        judgements = [sentiment, sentiment, rng.choice(list(_OPPOSITE))]
        rng.shuffle(judgements)
        parts: list[Part] = []
        for aspect, judged in zip(rng.sample(_ASPECTS[block], 3), judgements, strict=True):
            negated = rng.random() < 0.3
            word = rng.choice(JUDGEMENTS[_OPPOSITE[judged] if negated else judged][block])
            parts += [f"The {aspect} was", "not" if negated else ""]
            parts += [(word, {"judgement": judged}), Say(WORDS[judged]), "."]
        parts += [_WATCHED[block]]
        yield _prompt(parts, _OVERALL[block], block, sentiment)


def _moods(rng: Random, opposed: bool, people: int, scenes: int) -> Iterator[Prompt]:
    for block in blocks():
        sentiment = rng.choice(list(_OPPOSITE))
        asked, other, *more = rng.sample(_PEOPLE[block], people)
        activity = rng.choice(_ACTIVITIES[block])
        contrary = _OPPOSITE[sentiment] if opposed else rng.choice(list(_OPPOSITE))
        tastes = {asked: sentiment, other: contrary}
        tastes |= {name: rng.choice(list(_OPPOSITE)) for name in more}
        verbs = {name: rng.choice(TASTES[taste][block]) for name, taste in tastes.items()}
        parts: list[Part] = []
        for name in rng.sample(list(tastes), people):
            taste = tastes[name]
            parts += [name, (verbs[name], {"judgement": taste}), Say(WORDS[taste]), activity, "."]
        for name in [*rng.choices(list(tastes), k=scenes - 1), asked]:
            before, after = _INVITED[block].format(activity, name).split(name)
            parts += [before + name, Say(verbs[name]), after.strip(), "."]
        del parts[-1]
        yield _prompt(parts, _FEELS[block], block, sentiment)


def _prompt(parts: list[Part], end: str, block: int, sentiment: str) -> Prompt:
    comma: Part = (",", {"summary_sentiment": sentiment})
    said = Say(WORDS[sentiment])
    text, marks, targets = write_with_targets([*parts, comma, said, end, said])
    return Prompt(
        text,
        text,
        block=block,
        marks=marks,
        values={"sentiment": sentiment},
        targets=targets,
    )
