"""Which setting of the command line named a directory that cannot be made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from probes.core.directories import is_of_making, not_made
from probes.core.errors import UserError

KEYS = ("hydra.run.dir", "hydra.sweep.dir", "cache_dir")


def not_made_for(error: Exception, overrides: Sequence[str]) -> UserError | None:
    """The message for a directory that Hydra could not make; None for any other error.

    The setting is the one of the overrides whose value is the directory, is above it or below it.
    """
    if not isinstance(error, OSError) or not is_of_making(error):
        return None
    unmade = Path(str(error.filename)).absolute()
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        named = Path(value.strip("'\"")).absolute()
        if key in KEYS and (named == unmade or named in unmade.parents or unmade in named.parents):
            return not_made(key, value.strip("'\""), error)
    return not_made("hydra.run.dir", str(error.filename), error)
