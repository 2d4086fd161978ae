"""Turns the argument lines of our docstrings into parameter tables.

Arguments are described by lines ``name: what it is`` (continued by indented lines), without an
``Args:`` above them. Sphinx would read such a block as running text; here it becomes a field list.
"""

from __future__ import annotations

import contextlib
import inspect
import re
from typing import Any

LINE = re.compile(r"^(?P<names>\*{0,2}\w+(?:, \*{0,2}\w+)*): +(?P<text>\S.*)$")
"""``name: text`` or ``one, other: text`` at the margin."""


def parameters(what: str, target: Any) -> set[str]:
    """The names that may be described: arguments of a function or class, or its attributes."""
    names: set[str] = set()
    if what in ("class", "exception"):
        names |= set(getattr(target, "__annotations__", {}))
    with contextlib.suppress(TypeError, ValueError):
        names |= set(inspect.signature(target).parameters)
    return names - {"self", "cls"}


def convert(lines: list[str], known: set[str]) -> list[str]:
    """The docstring with its argument lines as ``:param name:`` fields."""
    result: list[str] = []
    inside = False  # the lines of an argument
    for line in lines:
        match = LINE.match(line)
        names = match["names"].replace("*", "").split(", ") if match else []
        if match and set(names) <= known:
            if not inside and result and result[-1]:
                result.append("")
            result.append(f":param {', '.join(names)}: {match['text']}")
            inside = True
            continue
        if inside and line and not line[0].isspace():
            result.append("")
            inside = False
        result.append(line)
    return result


def process(app: Any, what: str, name: str, target: Any, options: Any, lines: list[str]) -> None:
    """Sphinx' event for each docstring; changes it in place."""
    if what in ("function", "method", "class", "exception"):
        lines[:] = convert(lines, parameters(what, target))


def setup(app: Any) -> dict[str, bool]:
    """Register the event, before napoleon's."""
    app.connect("autodoc-process-docstring", process, priority=100)
    return {"parallel_read_safe": True}
