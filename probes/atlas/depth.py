"""At which depth of the model the heads of each stage are, and what the survey claims.

The survey (arXiv 2409.03752) puts heads that recall knowledge, and those that identify structure in
the context, in shallow layers, those that reason in the middle, and those that prepare the
expression in deep ones. Depth is relative: layer over last layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from probes.catalogue import Entry
from probes.results.feature_table import UNIT

CLAIMS: dict[str, str | None] = {
    "KR": "shallow",
    "ICI structural": "shallow",
    "ICI syntactic": None,
    "ICI semantic": None,
    "LR": "middle",
    "EP": "deep",
}
"""Group of entries -> third of the depth where the survey places such heads, if it says so."""
THIRDS = {"shallow": (0.0, 1 / 3), "middle": (1 / 3, 2 / 3), "deep": (2 / 3, 1.0)}


@dataclass(frozen=True)
class GroupDepth:
    """How one group of entries is distributed over the depth of one stream."""

    name: str
    stream: str
    claim: str | None
    """Of ``CLAIMS``."""
    depth: list[float]
    """(L,) relative depth of each layer, from 0 to 1."""
    heads: list[int]
    """(L,) heads that carry something of the group."""
    of: list[int]
    """(L,) all heads of the layer."""
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
            "group": self.name,
            "stream": self.stream,
            "claim": self.claim,
            "depth": [round(d, 4) for d in self.depth],
            "heads": self.heads,
            "of": self.of,
            "strength": [round(s, 5) for s in self.strength],
            "centre": None if self.centre is None else round(self.centre, 4),
        }


def third(depth: float) -> str:
    """The third of the depth in which a relative depth is.

    >>> third(0.2), third(0.5), third(1.0)
    ('shallow', 'middle', 'deep')
    """
    return next((name for name, (_, end) in THIRDS.items() if depth < end), "deep")


def group_of(entry: Entry) -> str:
    """The entry's stage and sub-stage where ``CLAIMS`` has them, else its stage."""
    with_substage = f"{entry.stage} {entry.substage}"
    return with_substage if with_substage in CLAIMS else entry.stage


def depths(table: pd.DataFrame, entries: Sequence[Entry]) -> list[GroupDepth]:
    """Each group that was probed, in each stream, in the order of ``CLAIMS``.

    table: of ``head_table``. A head counts once for a group, with its best score.
    """
    names = {entry.name: group_of(entry) for entry in entries}
    known = [*CLAIMS, *dict.fromkeys(g for g in names.values() if g not in CLAIMS)]
    groups = []
    for group in known:
        of_group = [group in {names.get(name) for name in e.split()} for e in table["entries"]]
        rows = table[np.array(of_group, dtype=bool)]
        for stream in rows["stream"].unique():
            groups.append(_depths(group, str(stream), rows[rows["stream"] == stream]))
    return groups


def _depths(group: str, stream: str, rows: pd.DataFrame) -> GroupDepth:
    strength = rows["score"].where(rows["significant"].astype(bool), 0.0)
    best = rows.assign(strength=strength).groupby(UNIT, observed=True)["strength"].max()
    layers = best.groupby("layer")
    depth = rows.groupby("layer")["depth"].first()
    return GroupDepth(
        name=group,
        stream=stream,
        claim=CLAIMS.get(group),
        depth=[float(d) for d in depth],
        heads=[int(n) for n in layers.agg(lambda scores: (scores > 0).sum())],
        of=[int(n) for n in layers.size()],
        strength=[float(s) for s in layers.mean()],
    )
