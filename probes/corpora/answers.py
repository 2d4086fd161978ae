"""What a model is expected to say in a corpus' texts, and texts in which it should say otherwise.

Probes do not need this; methods that measure behaviour do: the log-probability of an answer against
its alternatives, and what changes when activations of a contrasting text are patched in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from probes.core.errors import UserError


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes next at one place of a text. A text may have several."""

    example: int
    """Index of the text."""
    offset: int
    """The model has read ``texts[example][:offset]``: all of the text, or up to where it goes on
    with the answer."""
    text: str
    """What comes next, character for character: with a leading space where there is one."""
    alternatives: tuple[str, ...] = ()
    """What else would fit the place but is wrong, written as the answer is: the other name, the
    other options, other classes of the feature."""
    feature: str = ""
    """The feature whose class the answer stands for, where there is one."""
    sequence: bool = False
    """Whether it is a sentence or an answer in words, to be compared with its alternatives by the
    probability of all its tokens. Otherwise the first token decides."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """A corrupted twin of a text: as many words, of which the decisive ones are exchanged."""

    example: int
    """Index of the text that it is the twin of."""
    kind: str
    """What is exchanged: ``third_name``, ``other_subject``, ... A text has one twin of a kind."""
    text: str
    answer: str = ""
    """What comes next at its end, written as an ``Answer`` is; empty: nothing in particular."""


def count_words(text: str) -> int:
    """Words of a text, by white space."""
    return len(text.split())


def check_answer(answer: Answer, text: str) -> None:
    """Raise ``UserError`` for an answer that does not fit its text."""
    where = f"answer {answer.text!r} of the text {_short(text)}"
    if not answer.text.strip():
        raise UserError(f"{where}: it is empty", allowed="what the text goes on with")
    if not 0 <= answer.offset <= len(text):
        raise UserError(
            f"{where}: offset {answer.offset}", allowed=f"0 to {len(text)}, in characters"
        )
    if answer.offset < len(text) and not text.startswith(answer.text, answer.offset):
        raise UserError(
            f"{where}: after {answer.offset} characters the text goes on with "
            f"{_short(text[answer.offset :])}",
            allowed="an offset at which the text ends, or goes on with the answer",
        )
    if answer.text in answer.alternatives:
        raise UserError(f"{where}: it is one of its own alternatives", allowed="other texts")


def check_contrast(contrast: Contrast, text: str) -> None:
    """Raise ``UserError`` for a contrast that is no twin of its text."""
    where = f"contrast '{contrast.kind}' {_short(contrast.text)} of the text {_short(text)}"
    if contrast.text == text:
        raise UserError(f"{where}: both are the same", allowed="another text")
    words, wanted = count_words(contrast.text), count_words(text)
    if words != wanted:
        raise UserError(f"{where}: {words} words", allowed=f"{wanted} words, as in the text")


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def derange(rng: Random, items: Sequence[str]) -> list[str] | None:
    """The items in another order, with as few as possible in the place of an equal one (of ten
    orders drawn); None where every order is the same."""
    best: list[str] | None = None
    fewest = len(items)
    for _ in range(10):
        order = rng.sample(items, len(items))
        same = sum(new == old for new, old in zip(order, items, strict=True))
        if same < fewest:
            best, fewest = order, same
        if not fewest:
            break
    return best
