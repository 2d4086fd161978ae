"""Whether a corpus and its features suit a model, by its tokenizer, context and training rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probes.config import RunConfig
from probes.corpora.corpus import TEXT_LEVELS, TRAIN, Corpus, Feature
from probes.models.handle import Handle
from probes.models.tokens import encode

UNKNOWN = 0.2
"""Largest share of unknown tokens; above it too little of the texts reaches the model."""
EXAMPLES = 8
"""Unknown words that are kept as examples, of which the message shows five."""


@dataclass(frozen=True)
class TokenisedCorpus:
    """How long the texts of a corpus are for a model, and which words its tokenizer lacks."""

    tokens: int
    """Of all texts."""
    longest: int
    """Tokens of the longest text."""
    context: int
    """Tokens that the model reads."""
    unknown: float
    """Share of tokens that stand for a word which the tokenizer lacks."""
    examples: Sequence[str]
    """Some of those words."""

    @classmethod
    def of(cls, corpus: Corpus, handle: Handle) -> TokenisedCorpus:
        """Tokenise all texts and count."""
        encodings = encode(
            handle.tokenizer,
            corpus.texts,
            handle.settings.bos,
            chat=handle.chat,
            replies=corpus.replies,
        )
        unknown = handle.tokenizer.unk_token_id
        total = lost = 0
        words: dict[str, None] = {}
        for text, encoding in zip(corpus.texts, encodings, strict=True):
            for token, (start, end), special in zip(
                encoding.ids, encoding.offsets, encoding.special, strict=True
            ):
                if special:
                    continue
                total += 1
                if token == unknown:
                    lost += 1
                    if len(words) < EXAMPLES:
                        words[text[start:end]] = None
        lengths = [len(encoding.ids) for encoding in encodings]
        share = lost / max(total, 1)
        return cls(sum(lengths), max(lengths), handle.context, share, list(words))

    def why_unreadable(self) -> str:
        """Why the model can read no feature of this corpus; empty where it can."""
        if self.unknown <= UNKNOWN:
            return ""
        return (
            f"the model's tokenizer does not know {self.unknown:.0%} of its words "
            f"({', '.join(self.examples[:5])}, ...)"
        )


def why_unsuitable(corpus: Corpus, name: str, config: RunConfig, tokenised: TokenisedCorpus) -> str:
    """Why a feature of this corpus cannot be probed on the model; empty where it can."""
    if name not in corpus.features:
        return f"this corpus has no feature '{name}'"
    feature = corpus.features[name]
    too_long = tokenised.longest > tokenised.context
    if feature.level in TEXT_LEVELS and too_long and not config.truncate:
        return (
            f"read at the end of a text of up to {tokenised.longest} tokens, and the model reads "
            f"{tokenised.context}"
        )
    classes = _trainable_classes(corpus, feature, config.min_count)
    if classes < 2:
        return (
            f"{classes} of its {len(feature.classes)} classes has {config.min_count} training rows "
            "(min_count): too few examples"
        )
    return ""


def _trainable_classes(corpus: Corpus, feature: Feature, min_count: int) -> int:
    """Classes with enough training units; all, where the labels are known after tokenising only."""
    if feature.of_rows:
        return len(feature.classes)
    train = corpus.splits[corpus.units.example] == TRAIN
    codes = feature.codes[train & (feature.codes >= 0)]
    return int((np.bincount(codes, minlength=len(feature.classes)) >= max(min_count, 1)).sum())
