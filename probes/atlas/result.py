"""An atlas in memory: what its pages, figures and files are made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from probes.atlas.depth import GroupDepth
from probes.atlas.features import FeatureLine
from probes.atlas.plan import AtlasJob, LeftOut
from probes.catalogue import Entry


@dataclass(frozen=True)
class Atlas:
    """Everything that is shown of an atlas."""

    model: str
    kind: str
    """encoder, decoder or encoder-decoder."""
    level: float
    """False discovery rate over all heads and features."""
    table: pd.DataFrame
    """Of ``head_table``."""
    lines: list[FeatureLine]
    depths: list[GroupDepth]
    left_out: list[LeftOut]
    jobs: list[AtlasJob]
    """Those that are finished."""
    created: str
    """ISO 8601 time at which the atlas was begun."""


def probed_entries(jobs: Iterable[AtlasJob]) -> list[Entry]:
    """Each entry of the catalogue that these jobs probe, once."""
    return list({entry.name: entry for job in jobs for entry in job.entries}.values())
