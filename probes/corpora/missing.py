"""What counts as no value and as no text: one rule for labels, groups, texts and thresholds."""

from __future__ import annotations

import unicodedata
from typing import Any

NOT_A_NUMBER = frozenset({"nan", "NaN", "NAN", "<NA>", "NaT"})
"""How tools write a missing value as text; ``None`` and ``NA`` are classes of real corpora."""
_INVISIBLE = frozenset("\u034f\u115f\u1160\u2800\u3164\uffa0")
"""Fillers and joiners that are letters or marks to Unicode."""


def is_blank(text: str) -> bool:
    r"""Whether a reader sees nothing: white space, zero-width and control characters only.

    >>> is_blank(" \u200b\ufeff"), is_blank("."), is_blank("")
    (True, False, True)
    """
    stripped = text.strip()
    if not stripped or (stripped[0].isascii() and stripped[0].isprintable()):
        return not stripped
    return all(map(_is_invisible, stripped))


def is_missing(value: Any, *, mark: str = "") -> bool:
    """Whether a cell holds no value: None, NaN, nothing to see, or the mark of its format.

    mark: how the format writes that there is no value (``_`` in CoNLL files, where nan is a word);
    empty: it has none.

    >>> is_missing(float("nan")), is_missing(" "), is_missing("_", mark="_"), is_missing(0)
    (True, True, True, False)
    """
    if value is None:
        return True
    if isinstance(value, str):
        return is_blank(value) or (value == mark if mark else value.strip() in NOT_A_NUMBER)
    if isinstance(value, list | dict | tuple):
        return False
    return bool(value != value)  # NaN in any of its types


def given(value: str | None, *, mark: str = "") -> str | None:
    """The value, or None where there is none."""
    return None if is_missing(value, mark=mark) else value


def readable(text: str) -> str:
    r"""The text with U+FFFD for NUL and for halves of characters, which no tokenizer takes.

    Length and positions stay the same.

    >>> readable("a\x00b") == readable("a\ud83db") == "a\ufffdb"
    True
    """
    if "\0" not in text and text.isascii():
        return text
    return "".join("\ufffd" if _is_unreadable(char) else char for char in text)


def count_unreadable(text: str) -> int:
    """How many characters ``readable`` replaces."""
    return sum(map(_is_unreadable, text))


def _is_unreadable(char: str) -> bool:
    return char == "\0" or "\ud800" <= char <= "\udfff"


def _is_invisible(char: str) -> bool:
    return (
        char.isspace()
        or char in _INVISIBLE
        or "\ufe00" <= char <= "\ufe0f"  # variation selectors
        or unicodedata.category(char) in ("Cf", "Cc")
    )
