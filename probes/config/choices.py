"""Keys that take one of a few words: the words stand beside the field, and are read from there.

``check`` refuses others, ``--help`` lists them and the reference in the documentation has them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from probes.core.errors import UserError, closest

CHOICES = "choices"


def choice(default: str, choices: Sequence[str]) -> str:
    """A field of a configuration that takes one of ``choices``."""
    assert default in choices
    return dataclasses.field(default=default, metadata={CHOICES: tuple(choices)})


def choices_of(config: object, name: str) -> tuple[str, ...]:
    """The words that a field of a configuration (its class or an instance) takes.

    >>> from probes.config import SplitConfig
    >>> choices_of(SplitConfig, "source")
    ('auto', 'shipped', 'group')
    """
    return dict(fields_with_choices(config))[name]


def fields_with_choices(config: object) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Name and words of each such field of a configuration (its class or an instance)."""
    assert dataclasses.is_dataclass(config)
    for field in dataclasses.fields(config):
        if CHOICES in field.metadata:
            yield field.name, field.metadata[CHOICES]


def check_choices(config: object, prefix: str = "") -> None:
    """Refuse a value that is not among the words of its field.

    prefix: of the keys in messages, such as ``split.``.

    Raises:
        UserError: the first of them, with the word nearest in spelling.
    """
    for name, choices in fields_with_choices(config):
        check_choice(f"{prefix}{name}", getattr(config, name), choices)


def check_choice(key: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a value of ``key`` that is not among ``choices``.

    Raises:
        UserError: with the choice nearest in spelling.
    """
    if value not in choices:
        raise UserError(
            f"{key}={value}",
            allowed=", ".join(choices),
            fix=closest(value, list(choices), f"{key}={{}}"),
        )
