"""Film reviews with a summary position: the comma just before the end.

Tigges et al. 2023 (arXiv 2310.15154) found that sentiment is summed up at punctuation, where
heads near the end read it. A review judges three times, with negations, and the majority counts.
Neither a word nor the last word gives the sentiment away, and all evaluative words of the test
split are new.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from probes.config import GeneratedConfig
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


def generate(config: GeneratedConfig) -> GeneratedCorpus:
    """Three judgements of a film, and a request for the verdict."""
    options(config.name, config.options, {})
    return GeneratedCorpus(
        name=config.name,
        prompts=_prompts(Random(config.seed)),
        group_name="prompt",
        default_features=DEFAULT_FEATURES,
        descriptions=DESCRIPTIONS,
    )


def _prompts(rng: Random) -> Iterator[Prompt]:
    for block in blocks():
        sentiment = rng.choice(list(OPPOSITE))
        judgements = [sentiment, sentiment, rng.choice(list(OPPOSITE))]
        rng.shuffle(judgements)
        parts: list[Part] = []
        for aspect, judged in zip(rng.sample(_ASPECTS[block], 3), judgements, strict=True):
            negated = rng.random() < 0.3
            word = rng.choice(JUDGEMENTS[OPPOSITE[judged] if negated else judged][block])
            parts += [f"The {aspect} was", "not" if negated else ""]
            parts += [(word, {"judgement": judged}), Say(WORDS[judged]), "."]
        parts += [_WATCHED[block]]
        yield sentiment_prompt(parts, _OVERALL[block], block, sentiment)
