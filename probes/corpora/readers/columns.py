"""Columns of rows: by name, or inside one; templates of columns; what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from probes.core.errors import UserError, closest

Row = Mapping[str, Any]

_FIELD = re.compile(r"\{([^{}]+)\}")


def render(template: str, row: Row) -> str:
    """Fill ``{column}`` fields; nothing else in the template is interpreted.

    >>> render("Q: {q} A: {a}", {"q": "Who?", "a": "Me."})
    'Q: Who? A: Me.'
    """
    return _FIELD.sub(lambda match: str(value_at(row, match[1])), template)


def value_at(row: Row, column: str) -> Any:
    """A column, or a value inside one: ``answer.type``, ``questions.0``.

    >>> value_at({"a": {"b": [4, 5]}}, "a.b.1")
    5

    Raises:
        KeyError: there is no such place.
    """
    if column in row:
        return row[column]
    value: Any = row
    for step in column.split("."):
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise KeyError(column)
    return value


def fields(template: str) -> list[str]:
    """The columns that a template names."""
    return _FIELD.findall(template)


def column_of(row: Row, column: str, key: str, place: str) -> Any:
    """The value of a column that ``corpus.<key>`` names.

    Raises:
        UserError: the row at ``place`` has no such column.
    """
    try:
        return value_at(row, column)
    except KeyError:
        pass
    names = [str(name) for name in row]
    raise UserError(
        f"corpus.{key}={column}: {place} has no column '{column}'",
        allowed=", ".join(names),
        fix=f"corpus.{key}={closest(column, names)}",
    )
