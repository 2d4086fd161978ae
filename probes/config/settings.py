"""Changing a configuration: a copy with another value, never the configuration itself."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

from probes.core.errors import UserError

C = TypeVar("C")


def with_setting(config: C, key: str, value: object) -> C:
    """A copy of a configuration dataclass with ``value`` at a dotted key; the rest is shared.

    >>> from probes.config import RunConfig
    >>> with_setting(RunConfig(), "position.word", "mean").position.word
    'mean'

    Raises:
        UserError: the configuration has no such key.
    """
    name, _, rest = key.partition(".")
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise UserError(f"{key}: no such key of a run")
    if name not in {field.name for field in dataclasses.fields(config)}:
        raise UserError(f"{key}: no such key of a run")
    if rest:
        value = with_setting(getattr(config, name), rest, value)
    return dataclasses.replace(config, **{name: value})
