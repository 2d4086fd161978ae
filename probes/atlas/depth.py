"""Where in the model heads of each stage are, beside what the survey says of it.

The survey (arXiv 2409.03752) puts heads that recall knowledge, and those that identify structure in
the context, in shallow layers, those that reason in the middle, and those that prepare the
expression in deep ones. Depth is relative: layer over last layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from probes.atlas.heads import PLACE
from probes.catalogue import Entry

CLAIMS: dict[str, str | None] = {
    "KR": "shallow",
    "ICI structural": "shallow",
    "ICI syntactic": None,
    "ICI semantic": None,
    "LR": "middle",
    "EP": "deep",
}
"""Group of entries -> third of the depth in which the survey sees such heads, if it says so."""
THIRDS = {"shallow": (0.0, 1 / 3), "middle": (1 / 3, 2 / 3), "deep": (2 / 3, 1.0)}


@dataclass(frozen=True)
class Depths:
    """One group of entries in one stream."""

    group: str
    stream: str
    claim: str | None
    depth: list[float]
    """(L,) of each layer."""
    heads: list[int]
    """(L,) heads that carry something of the group."""
    of: list[int]
    """(L,) heads of the layer."""
    strength: list[float]
    """(L,) mean over all heads of the layer of their best significant score, 0 without one."""

    @property
    def centre(self) -> float | None:
        """Mean depth weighted by strength; None where no head carries anything."""
        total = sum(self.strength)
        if not total:
            return None
        return float(np.dot(self.depth, self.strength) / total)

    @property
    def third(self) -> str | None:
        """shallow, middle or deep."""
        return None if self.centre is None else third(self.centre)

    @property
    def carried(self) -> int:
        """Heads in all layers."""
        return sum(self.heads)

    def to_json(self) -> dict[str, object]:
        """For ``atlas.json``."""
        return {
            "group": self.group,
            "stream": self.stream,
            "claim": self.claim,
            "depth": [round(d, 4) for d in self.depth],
            "heads": self.heads,
            "of": self.of,
            "strength": [round(s, 5) for s in self.strength],
            "centre": None if self.centre is None else round(self.centre, 4),
        }


def third(depth: float) -> str:
    """
    >>> third(0.2), third(0.5), third(1.0)
    ('shallow', 'middle', 'deep')
    """
    return next((name for name, (_, end) in THIRDS.items() if depth < end), "deep")


def group_of(entry: Entry) -> str:
    """Its stage; of in-context identification also what is identified.

    The stage alone where ``CLAIMS`` knows no such part.
    """
    parted = f"{entry.stage} {entry.substage}"
    return parted if parted in CLAIMS else entry.stage


def depths(table: pd.DataFrame, entries: Sequence[Entry]) -> list[Depths]:
    """Each group that was probed in each stream, in the order of ``CLAIMS``.

    table: of ``head_table``. A head counts once for a group, with its best score.
    """
    names = {entry.name: group_of(entry) for entry in entries}
    known = [*CLAIMS, *dict.fromkeys(g for g in names.values() if g not in CLAIMS)]
    found = []
    for group in known:
        of_group = [group in {names.get(name) for name in e.split()} for e in table["entries"]]
        rows = table[np.array(of_group, dtype=bool)]
        for stream in rows["stream"].unique():
            found.append(_depths(group, str(stream), rows[rows["stream"] == stream]))
    return found


def _depths(group: str, stream: str, rows: pd.DataFrame) -> Depths:
    strength = rows["score"].where(rows["significant"].astype(bool), 0.0)
    best = rows.assign(strength=strength).groupby(PLACE, observed=True)["strength"].max()
    layers = best.groupby("layer")
    depth = rows.groupby("layer")["depth"].first()
    return Depths(
        group=group,
        stream=stream,
        claim=CLAIMS.get(group),
        depth=[float(d) for d in depth],
        heads=[int(n) for n in layers.agg(lambda scores: (scores > 0).sum())],
        of=[int(n) for n in layers.size()],
        strength=[float(s) for s in layers.mean()],
    )
