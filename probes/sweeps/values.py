"""Swept values as people read and order them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException


def readable(value: str) -> str:
    r"""The value of an override without the quotes and escapes that Hydra needs.

    >>> readable("[upos,deprel]"), readable("'a b'"), readable("[[1,2],[3]]"), readable("null")
    ('[upos, deprel]', 'a b', '[[1, 2], [3]]', 'null')
    >>> readable("a\\,b"), readable("{a:1}"), readable("<b>]")
    ('a,b', '{a: 1}', '<b>]')
    """
    try:
        parsed = OverridesParser.create().parse_rule(f"key={value}", "override").value()
    except HydraException:  # of a directory that somebody else wrote
        return value
    return _text(parsed)


def _text(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_text(item)}" for key, item in value.items()) + "}"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(getattr(value, "text", value))


def in_order(values: Iterable[str]) -> list[str]:
    """Each value once; numbers in them are ordered by their size.

    >>> in_order(["step10", "step9", "step9"]), in_order(["1e-2", "5", "0.3"])
    (['step9', 'step10'], ['1e-2', '0.3', '5'])
    """
    return sorted(dict.fromkeys(values), key=natural)


def natural(value: str) -> tuple[object, ...]:
    """A key by which texts sort with the numbers in them by size."""
    try:
        return ((0, float(value), ""),)
    except ValueError:
        parts = re.split(r"(\d+)", value)
        return tuple((1, float(p), "") if p.isdigit() else (2, 0.0, p) for p in parts)
