"""Chat templates: each text as a user's turn, as an instruction-tuned model reads it.

The text stands in the template character for character (without white space at its ends where the
template strips it), so that every token of the whole knows which characters of the text it covers.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from probes.core.errors import UserError

MESSAGE = 'Say "yes" & <no>,\nplease'
REPLY = "Certainly"
PAD = " \n"
DATE = datetime.date(2024, 7, 26)
"""What templates that ask for today's date get: numbers must not depend on the day."""
FIXED_DATE = (
    "{% macro strftime_now(format) %}{{ format"
    + "".join(f" | replace('%{code}', '{DATE.strftime('%' + code)}')" for code in "aAbBdejmyYHIMSp")
    + " }}{% endmacro %}{{ '' }}"
)
"""The function that templates ask for it (transformers passes no other one to a template)."""


@dataclass(frozen=True)
class Wrapped:
    """A text in its template, and where its characters are."""

    text: str
    pieces: tuple[tuple[int, int, int], ...]
    """(begin, end, shift) of each piece of the original text in ``text``: character ``i`` of the
    original is at ``i + shift``. The user's words, then those of the reply, if there are any."""
    prompted: bool
    """Whether ``text`` ends where the model's reply begins."""


@dataclass(frozen=True)
class ChatTemplate:
    """What a template puts around a user's words; found by writing two messages with it."""

    before: str
    after: str
    """Where nobody replies."""
    prompt: str
    """After the user's words where a reply follows: the end of the turn and the generation
    prompt."""
    space: str
    """Between the generation prompt and a reply."""
    strips: tuple[bool, bool]
    """Whether white space before and after the user's words is taken away."""

    def summary(self) -> str:
        """What texts stand between, in one line for the log."""
        return (
            f"each text stands between {self.before!r} and {self.after!r}, or before "
            f"{self.prompt!r} where it is answered"
        )

    def wrap(self, text: str, reply: int = -1) -> Wrapped:
        """The text as a user's turn; from character ``reply`` on, unless -1, as what the model
        replies, of which white space before it is replaced by the template's own.

        >>> template = ChatTemplate("<user>", "<end>", "<end><model>", "", (True, True))
        >>> template.wrap("Who? Me", 4).text, template.wrap("Who?", 4).text
        ('<user>Who?<end><model>Me', '<user>Who?<end><model>')
        >>> template.wrap("Who?").text
        '<user>Who?<end>'
        """
        asked = text if reply < 0 else text[:reply]
        start = len(asked) - len(asked.lstrip()) if self.strips[0] else 0
        asked = asked.rstrip() if self.strips[1] else asked
        begin = len(self.before)
        whole = self.before + asked[start:]
        pieces = [(begin, len(whole), begin - start)]
        if reply < 0:
            return Wrapped(whole + self.after, tuple(pieces), prompted=False)
        whole += self.prompt
        said = text[reply:].lstrip()
        if said:
            whole += self.space
            pieces.append(
                (len(whole), len(whole) + len(said), len(whole) - (len(text) - len(said)))
            )
            whole += said
        return Wrapped(whole, tuple(pieces), prompted=not said)


def chat_template(tokenizer: Any, chat: str, name: str) -> ChatTemplate | None:
    """The template of ``model.chat``; None for ``none``.

    Raises:
        UserError: the tokenizer has no template, or one that does not show a user's words as they
            are.
    """
    if chat == "none":
        return None
    if not getattr(tokenizer, "chat_template", None):
        raise UserError(
            f"model.chat={chat}: the tokenizer of {name} has no chat template",
            allowed="instruction-tuned models, whose tokenizer brings one",
            fix="model.chat=none",
        )
    before, after, prompt = _around(tokenizer, MESSAGE, name)
    padded_before, padded_after, _ = _around(tokenizer, PAD + MESSAGE + PAD, name)
    strips = (padded_before == before, padded_after == after)
    keeps = (padded_before == before + PAD, padded_after == PAD + after)
    if not all(map(max, strips, keeps)):
        raise _unusable(name, "changes white space around it")
    replied = _written(tokenizer, [MESSAGE, REPLY], name, prompt=False)
    space = ""
    opened = before + MESSAGE + prompt
    if replied.startswith(opened):
        space = replied[len(opened) :].split(REPLY)[0]
    return ChatTemplate(before, after, prompt, space if not space.strip() else "", strips)


def _around(tokenizer: Any, message: str, name: str) -> tuple[str, str, str]:
    """What stands before and after ``MESSAGE`` in a user's turn, and after it with a generation
    prompt."""
    before, found, after = _written(tokenizer, [message], name, prompt=False).partition(MESSAGE)
    prompted = _written(tokenizer, [message], name, prompt=True).partition(MESSAGE)
    if not found or MESSAGE in after or prompted[0] != before:
        raise _unusable(name, "does not show it once and as it is")
    return before, after, prompted[2]


def _written(tokenizer: Any, messages: list[str], name: str, *, prompt: bool) -> str:
    """Messages of user and model by turns, as the template writes them."""
    roles = ("user", "assistant")
    try:
        template = tokenizer.get_chat_template()
        written: str = tokenizer.apply_chat_template(
            [{"role": roles[i % 2], "content": text} for i, text in enumerate(messages)],
            chat_template=(FIXED_DATE if "strftime_now" in template else "") + template,
            tokenize=False,
            add_generation_prompt=prompt,
            date_string=DATE.strftime("%d %b %Y"),
        )
    except Exception as error:  # whatever the template's own code raises
        raise _unusable(name, f"fails on it ({type(error).__name__}: {error})") from error
    return written


def _unusable(name: str, what: str) -> UserError:
    return UserError(
        f"model.chat=user: the chat template of {name} is given a user's text and {what}",
        allowed="templates of user and assistant turns that hold texts as they are",
        fix="model.chat=none",
    )
