"""Where an extraction begins, and what is known of it when its first batch is done."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from probes.activations.cache import Cache
from probes.activations.row_fields import row_fields
from probes.activations.storing import OnFirst
from probes.activations.writer import CacheWriter
from probes.passes.batches import Batch, BatchPlan
from probes.passes.progress import Progress
from probes.passes.shards import WHOLE, Shard

log = logging.getLogger(__name__)


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


def common_progress(writers: Sequence[CacheWriter], start: Progress) -> Progress:
    """Where all caches can go on together: the least of them, if they used the same batches."""
    progresses = [writer.progress for writer in writers]
    least = min(progresses, key=lambda progress: progress.sequences)
    different = any(progress.batching != least.batching for progress in progresses)
    return start if least.sequences <= start.sequences or different else least


def log_plan(
    kinds: Sequence[str], plan: BatchPlan, shard: Shard, done: Progress, cache_dir: Path
) -> None:
    """A line about what this process reads, from where on, and where it is stored."""
    begin, end = plan.range_of(shard)
    log.info(
        "%s: %d sequences, %d tokens, %d rows%s -> %s%s",
        ", ".join(kinds),
        len(plan),
        plan.alignment.offsets[-1],
        len(plan.alignment),
        "" if shard == WHOLE else f", of which sequences {begin} to {end} here",
        cache_dir,
        f" (resumed at sequence {done.sequences})" if done.sequences > begin else "",
    )
