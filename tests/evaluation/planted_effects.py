"""Effects of edits whose truth is known: every head has a true effect, rows come in groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from probes.statistics.groups import Groups
from probes.statistics.maps import MapEvidence

ROWS = 4
"""Rows of a group."""


def effects_evidence(
    truth: np.ndarray,
    shape: Sequence[int],
    *,
    groups: int = 60,
    validation_groups: int = 40,
    noise: float = 1.0,
    shared: np.ndarray | None = None,
    method: str = "ablation",
    probe: str = "mean",
    metric: str = "logit_difference",
    effect: str = "total",
    positions: str = "all",
    feature: str = "indirect_object",
    site: str = "heads",
    stream: str = "decoder",
    first_group: int = 100,
    seed: int = 0,
) -> MapEvidence:
    """A map of heads with these true mean effects (H,).

    shape: heads of each layer. noise: standard deviation of a row and of its group, relative to 1.
    shared: (H, groups) noise of the groups that another map has too.
    """
    random = np.random.default_rng(seed)
    H = len(truth)
    units = [(layer, head) for layer, heads in enumerate(shape) for head in range(heads)]

    def rows_of(count: int, own: np.ndarray | None) -> np.ndarray:
        of_group = noise * random.normal(size=(H, count)) if own is None else own
        rows = noise * random.standard_t(5, size=(H, count, ROWS))
        values: np.ndarray = truth[:, None, None] + of_group[:, :, None] + rows
        return values.reshape(H, -1)

    index = Groups.of(np.repeat(np.arange(groups) + first_group, ROWS))
    return MapEvidence(
        feature=feature,
        site=site,
        probe=probe,
        units=np.array(units, dtype=np.int32),
        streams=(stream,) * H,
        groups=index.names.astype(np.int64),
        rows=index.sizes,
        totals=index.sum(rows_of(groups, shared)),
        validation=rows_of(validation_groups, None).mean(axis=1),
        method=method,
        metric=metric,
        effect=effect,
        positions=positions,
        validation_rows=validation_groups * ROWS,
    )
