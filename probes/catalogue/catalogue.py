"""Reading the catalogue, and choosing from it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from probes.catalogue.entry import STAGES, Entry
from probes.core.errors import UserError, closest

DATA = Path(__file__).with_name("heads.yaml")


def catalogue(
    *, stage: str | None = None, encoder: bool = False, corpus: str | None = None
) -> tuple[Entry, ...]:
    """The entries in their order: by stage, as the survey lists them.

    stage: only these, by key or name ("ICI", "in-context identification").
    encoder: only what an encoder can be asked for.
    corpus: only what is read on this corpus.

    >>> [entry.kind for entry in catalogue(stage="EP")][0]
    'mixed head'
    """
    wanted = None if stage is None else _stage(stage)
    return tuple(
        entry
        for entry in _read()
        if (wanted is None or entry.stage == wanted)
        and not (encoder and entry.decoders_only)
        and (corpus is None or entry.corpus == corpus)
    )


def lookup(name: str) -> Entry:
    """The entry of that name; raises ``UserError`` with the names there are."""
    entries = {entry.name: entry for entry in _read()}
    if name not in entries:
        raise UserError(
            f"catalogue entry '{name}': no such entry",
            allowed=", ".join(entries),
            fix=closest(name, list(entries)),
        )
    return entries[name]


@cache
def _read() -> tuple[Entry, ...]:
    import yaml

    content: dict[str, Any] = yaml.safe_load(DATA.read_text(encoding="utf-8"))
    return tuple(
        Entry.from_json({"name": name, **fields, "paper": content["papers"][fields["paper"]]})
        for name, fields in content["entries"].items()
    )


def _stage(stage: str) -> str:
    for key, name in STAGES.items():
        if stage.upper() == key or stage.lower() == name:
            return key
    raise UserError(
        f"--stage {stage}: no such stage",
        allowed=", ".join(f"{key} ({name})" for key, name in STAGES.items()),
        fix=f"--stage {closest(stage.upper(), list(STAGES))}",
    )
