"""The words of tasks that need words without a meaning of their own: invented or common ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from probes.core.errors import UserError, closest
from probes.corpora.generated.data.common_words import COMMON_WORDS
from probes.corpora.generated.kit.writing import invented_words


def common_words(count: int) -> list[str]:
    """Common words in an order that is the same for every seed (at most all of the list).

    They are single tokens to the usual tokenizers, so that the previous word is the previous token.
    """
    return Random("common words").sample(COMMON_WORDS, len(COMMON_WORDS))[:count]


VOCABULARIES: Mapping[str, tuple[Callable[[int], list[str]], int]] = {
    "invented": (invented_words, 1000),
    "common": (common_words, len(COMMON_WORDS)),
}
"""``corpus.options.vocabulary`` -> the words, and how many there are."""


def most_words(vocabulary: str) -> int:
    """How many words a vocabulary has.

    Raises:
        UserError: there is no such vocabulary.
    """
    if vocabulary not in VOCABULARIES:
        raise UserError(
            f"corpus.options.vocabulary={vocabulary}",
            allowed=", ".join(VOCABULARIES),
            fix=closest(vocabulary, list(VOCABULARIES), "corpus.options.vocabulary={}"),
        )
    return VOCABULARIES[vocabulary][1]


def task_words(chosen: Mapping[str, Any], count: int) -> list[str]:
    """The first ``count`` words of the vocabulary that the options of a task name."""
    words, _ = VOCABULARIES[chosen["vocabulary"]]
    return words(count)
