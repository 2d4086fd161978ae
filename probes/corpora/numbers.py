"""One spelling for one number: 1, 1.0 and 01 are one class where a column holds only numbers."""

from __future__ import annotations

import re
from collections.abc import Collection
from decimal import Decimal

MOST_DIGITS = 30
"""Numbers with more digits before or after the point keep their spelling."""
MANY_NUMBERS = 20
"""Above this, different numbers are rather a scale than classes; above half of it where some are
no whole numbers."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)


def number(text: str) -> Decimal | None:
    """The exact number that a text spells, or None."""
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def plain(value: Decimal) -> str:
    """The plain spelling of a number.

    >>> plain(Decimal("01.50")), plain(Decimal("-0.0")), plain(Decimal("1e2"))
    ('1.5', '0', '100')
    """
    if abs(value.adjusted()) > MOST_DIGITS:
        return str(value)
    digits = format(value, "f")
    digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return "0" if digits in ("-0", "0") else digits


def same_spelling(names: Collection[str]) -> dict[str, str]:
    """Name -> the spelling that replaces it, for all names of a column.

    Empty where nothing is to be done: some name is no number, or no two names spell one number.
    Words of truth (true, True) are one class likewise.

    >>> same_spelling(["1", "1.0", "2"]), same_spelling(["01", "2"]), same_spelling(["1.0", "a"])
    ({'1.0': '1'}, {}, {})
    """
    if all(name.lower() in ("true", "false") for name in names):
        spelled = {name: name.lower() for name in names}
    else:
        values = {name: number(name) for name in names}
        spelled = {name: plain(value) for name, value in values.items() if value is not None}
        if len(spelled) < len(names):
            return {}
    if len(set(spelled.values())) == len(names):
        return {}
    return {name: spelling for name, spelling in spelled.items() if name != spelling}


def many_numbers(names: Collection[str]) -> list[Decimal]:
    """The sorted numbers that names spell where they are rather a scale than classes, or none."""
    values = [number(name) for name in names]
    numbers = sorted(value for value in values if value is not None)
    if len(numbers) < len(names) or len(numbers) <= MANY_NUMBERS // 2:
        return []
    whole = all(value == value.to_integral_value() for value in numbers)
    return [] if whole and len(numbers) <= MANY_NUMBERS else numbers
