"""Limits of single numbers of a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from probes.core.errors import UserError


def at_least(least: int, config: Any, group: str, name: str) -> None:
    """Refuse a value that is less; the default of the group is the fix.

    Raises:
        UserError: ``group.name`` is less.
    """
    value, usual = getattr(config, name), getattr(type(config)(), name)
    if value < least:
        raise UserError(
            f"{group}.{name}={value}", allowed=f"{least} and more", fix=f"{group}.{name}={usual}"
        )


def check_seeds(key: str, seeds: Sequence[int]) -> None:
    """Refuse seeds that a generator of random numbers does not take.

    Raises:
        UserError: one is below 0 or above 2^32 - 1.
    """
    wrong = [seed for seed in seeds if not 0 <= seed < 2**32]
    if wrong:
        fix = f"{key}=[0]" if key == "seeds" else f"{key}=0"
        raise UserError(f"{key}={wrong[0]}", allowed=f"0 to {2**32 - 1}", fix=fix)


def share(key: str, value: float, usual: float) -> None:
    """Refuse what is no proper share of a whole.

    usual: what is offered instead.

    Raises:
        UserError: it is not above 0 and below 1.
    """
    if not 0 < value < 1:
        raise UserError(f"{key}={value}", allowed="above 0 and below 1", fix=f"{key}={usual}")
