"""Sentiments: their classes, how a model names them, and how their prompts end."""

from __future__ import annotations

from collections.abc import Sequence

from probes.corpora.generated.kit.blocks import Part, Say, write
from probes.corpora.generated.kit.prompt import Prompt

OPPOSITE = {"positive": "negative", "negative": "positive"}
WORDS = {"positive": "good", "negative": "bad"}
"""Class -> the word that a model answers with."""

DESCRIPTIONS = {
    "sentiment": "sentiment that the answer depends on",
    "summary_sentiment": "the same, read at the comma before the end",
    "judgement": "sentiment of one evaluative word with its negation",
}
DEFAULT_FEATURES = ("sentiment", "summary_sentiment", "judgement")


def sentiment_prompt(parts: Sequence[Part], end: str, block: int, sentiment: str) -> Prompt:
    """A text, the comma at which its sentiment is summed up, and a request for it."""
    comma: Part = (",", {"summary_sentiment": sentiment})
    hint = Say(WORDS[sentiment])
    answer = Say(WORDS[sentiment], (WORDS[OPPOSITE[sentiment]],), "sentiment")
    return write([*parts, comma, hint, end, answer]).prompt(
        block=block, values={"sentiment": sentiment}
    )
