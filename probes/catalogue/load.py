"""Reads the catalogue of heads, ``heads.yaml``, and selects entries from it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from probes.catalogue.entry import STAGES, Entry
from probes.core.errors import UserError, closest

DATA = Path(__file__).with_name("heads.yaml")


def load_catalogue(
    *, stage: str | None = None, encoder: bool = False, corpus: str | None = None
) -> tuple[Entry, ...]:
    """The entries in their order: by stage, as the survey lists them.

    stage: only these, by key or name ("ICI", "in-context identification").
    encoder: only those that an encoder can be probed for.
    corpus: only those that are read on this corpus.

    Raises:
        UserError: there is no such stage.

    >>> [entry.kind for entry in load_catalogue(stage="EP")][0]
    'mixed head'
    """
    key = None if stage is None else _stage_key(stage)
    return tuple(
        entry
        for entry in _read()
        if (key is None or entry.stage == key)
        and not (encoder and entry.decoders_only)
        and (corpus is None or entry.corpus == corpus)
    )


@cache
def _read() -> tuple[Entry, ...]:
    import yaml

    content: dict[str, dict[str, dict[str, Any]]] = yaml.safe_load(DATA.read_text(encoding="utf-8"))
    return tuple(
        Entry.from_json({"name": name, **fields, "paper": content["papers"][fields["paper"]]})
        for name, fields in content["entries"].items()
    )


def _stage_key(stage: str) -> str:
    """The key of a stage that was given by its key or its name."""
    for key, name in STAGES.items():
        if stage.upper() == key or stage.lower() == name:
            return key
    raise UserError(
        f"--stage {stage}: no such stage",
        allowed=", ".join(f"{key} ({name})" for key, name in STAGES.items()),
        fix=closest(stage.upper(), list(STAGES), "--stage {}"),
    )
