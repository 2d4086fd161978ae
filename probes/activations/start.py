"""What is known of an extraction when its first batch is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probes.activations.cache import Cache
from probes.activations.row_fields import row_fields
from probes.activations.storing import OnFirst
from probes.activations.writer import CacheWriter
from probes.passes.batches import Batch, BatchPlan
from probes.passes.progress import Progress
from probes.passes.shards import Shard


@dataclass(frozen=True)
class ExtractionStart:
    """How much an extraction reads and stores, and how long that takes."""

    sequences: int
    tokens: int
    """Of all sequences, without padding."""
    seconds: float
    """Of this process' extraction, judged by its first batch, which has the longest sequences."""
    tokens_per_second: float
    """Of the first batch."""
    caches: dict[str, Cache]
    """By kind of site: their layers, rows and dtype, not yet their numbers."""
    units: npt.NDArray[np.int32]
    """(rows,) the unit of the corpus that each row is read for."""


OnStart = Callable[[ExtractionStart], None]


def on_first_batch(
    on_start: OnStart | None,
    plan: BatchPlan,
    shard: Shard,
    writers: Mapping[str, CacheWriter],
    done: Progress,
) -> OnFirst | None:
    """What tells ``on_start`` when the first batch is done; None where nobody asks.

    writers: of the caches, by kind of site. done: where this process begins.
    """
    if on_start is None:
        return None
    end = plan.range_of(shard)[1]

    def tell(batch: Batch, seconds: float) -> None:
        left = plan.tokens_between(done.sequences, end)
        on_start(
            ExtractionStart(
                sequences=len(plan),
                tokens=int(plan.alignment.offsets[-1]),
                seconds=seconds * left / max(batch.tokens, 1),
                tokens_per_second=batch.tokens / max(seconds, 1e-9),
                caches={k: Cache(w.directory, w.manifest, w.layers) for k, w in writers.items()},
                units=np.concatenate([*row_fields(plan.alignment)("unit")]),
            )
        )

    return tell
