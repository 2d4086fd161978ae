"""Text from users as it is shown: characters that would steer a terminal or a page are spelled out.

Names of features and classes, texts and paths come from files. An escape sequence among them would
be carried out by a terminal, a NUL ends an SVG, and bidirectional controls turn the words around
them about. They reach every output through ``shown``.
"""

from __future__ import annotations

import logging
import re

STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and line feed
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional
    "\u2028\u2029"  # line and paragraph separators
    "\ud800-\udfff\ufffe\uffff]"  # no characters: neither UTF-8 nor XML has them
)


def shown(text: str) -> str:
    r"""``text`` with steering characters as Python spells them; all others as they are.

    >>> shown("red\x1b[31m"), shown("a\u202eb"), shown("two\nlines"), shown("आँख 👩\u200d🔬")
    ('red\\x1b[31m', 'a\\u202eb', 'two\nlines', 'आँख 👩\u200d🔬')
    """
    return STEERING.sub(_spelled, text)


def _spelled(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape", "surrogatepass").decode("ascii")


class ShownFormatter(logging.Formatter):
    """Of log lines, on the terminal and in files."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, or several of a traceback."""
        return shown(super().format(record))
