"""Entries of the catalogue by their names."""

from __future__ import annotations

from probes.catalogue import Entry, load_catalogue


def entry_named(name: str) -> Entry:
    """The one entry of this name."""
    (entry,) = [entry for entry in load_catalogue() if entry.name == name]
    return entry
