"""Words of a list as one text: with spaces between, or without in scripts that have none."""

from __future__ import annotations

import re
from collections.abc import Sequence

_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3001-\u303f\uff01-\uff65\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"  # Chinese and Japanese; Korean has spaces
)


def join_words(words: Sequence[str], join: str | None = None) -> tuple[str, list[int]]:
    """The text, and where each word begins in it.

    join: what stands between two words; None: a space, or nothing where half of the words are in
    a script without spaces (Chinese, Japanese, Thai, ...). Latin words among those keep theirs.

    >>> join_words(["New", "York"]), join_words(list("\u5f20\u4f1f\u53bb\u4e86"))[1]
    (('New York', [0, 4]), [0, 1, 2, 3])
    """
    together = join is None and is_unspaced(words)
    text = ""
    starts = []
    for number, word in enumerate(words):
        if number:
            before = words[number - 1]
            if join is not None:
                text += join
            elif not together or _are_latin(before, word):
                text += " "
        starts.append(len(text))
        text += word
    return text, starts


def is_unspaced(words: Sequence[str]) -> bool:
    """Whether half of the words, or more, are in a script that writes no spaces.

    Single ASCII characters do not count: signs, and letters of words that are listed by character.
    """
    counted = [word for word in words if not (word.isascii() and len(word) == 1)]
    unspaced = sum(_UNSPACED.search(word) is not None for word in counted)
    return unspaced > 0 and 2 * unspaced >= len(counted)


def _are_latin(before: str, word: str) -> bool:
    """Whether a space stands between two words also there: not between letters one by one."""
    spelled = before[-1:].isascii() and word[:1].isascii()
    return (
        spelled and before[-1:].isalnum() and word[:1].isalnum() and max(len(before), len(word)) > 1
    )
