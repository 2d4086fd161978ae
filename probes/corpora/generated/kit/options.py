"""Options of a generated corpus: numbers and choices with defaults, checked by name and type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from probes.core.errors import UserError, closest


def options(task: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """``defaults`` with what was given in their place.

    Raises:
        UserError: a name that the corpus does not have, or a value of another type.
    """
    for name, value in given.items():
        if name not in defaults:
            raise UserError(
                f"corpus.options.{name}: task '{task}' has no such option",
                allowed=", ".join(f"{key}={value}" for key, value in defaults.items()) or "none",
                fix=closest(name, list(defaults), "corpus.options.{}=..."),
            )
        if type(value) is not type(defaults[name]):
            raise UserError(
                f"corpus.options.{name}={value!r}",
                allowed=f"a value like {defaults[name]!r}",
            )
    return {**defaults, **given}
