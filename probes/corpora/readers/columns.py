"""Columns of rows: by name, or inside one; templates of columns; what is wrong with them."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from probes.core.errors import UserError, closest
from probes.core.overrides import override
from probes.corpora.missing import is_missing

Row = Mapping[str, Any]

_FIELD = re.compile(r"\{([^{}]+)\}")


def render(template: str, row: Row) -> str:
    """Fill ``{column}`` fields; nothing else in the template is interpreted. A missing value that
    is no text (None, NaN) leaves its field empty.

    >>> render("Q: {q} A: {a}", {"q": "Who?", "a": "Me."})
    'Q: Who? A: Me.'
    """
    return _FIELD.sub(lambda match: _written(value_at(row, match[1])), template)


def _written(value: Any) -> str:
    return "" if not isinstance(value, str) and is_missing(value) else str(value)


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
    near = closest(column, names)
    raise UserError(
        f"corpus.{key}={column}: {place} has no column '{column}'",
        allowed=", ".join(names),
        fix=set_column(key, near) if near else "",
    )


def set_column(key: str, column: str) -> str:
    """The override that names a column, which works whether or not an entry is there yet.

    >>> set_column("text", "content"), set_column("labels.topic", "topics")
    ('corpus.text=content', '++corpus.labels.topic=topics')
    """
    return override(f"++corpus.{key}" if "." in key else f"corpus.{key}", column)


def listed_in(value: Any) -> Any:
    """The list or mapping that a cell is, or that its text spells; None: it is one value.

    >>> listed_in("['a', 'b']"), listed_in([1]), listed_in("[CLS]"), listed_in("(a)")
    (['a', 'b'], [1], None, None)
    """
    if isinstance(value, list | dict | tuple):
        return value
    if not isinstance(value, str) or value.strip()[:1] + value.strip()[-1:] not in ("[]", "{}"):
        return None
    try:
        spelled = ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return spelled if isinstance(spelled, list | dict | set) else None
