"""How far a run over a corpus has come: what is needed to resume it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a run over a plan, or over a shard of it, has come; enough to resume it."""

    sequences: int = 0
    """Position in the plan: the sequences before it (from the shard's first on) are done."""
    rows: int = 0
    """Rows read in these sequences."""
    batching: tuple[tuple[int, int], ...] = ()
    """(position, tokens per batch) from which each batch size held; one entry, unless memory
    ran out."""
