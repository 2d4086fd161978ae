"""Waiting for the other shards of caches, which independent processes extract."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import filelock

from probes.activations.locks import shard_lock, writing
from probes.activations.shard_states import done_shards
from probes.core.errors import UserError
from probes.core.shown_progress import LINE_SECONDS
from probes.passes.shards import Shard

log = logging.getLogger(__name__)

PATIENCE = 120.0
"""Seconds for which a shard may be neither done nor at work: its process may not have begun."""
POLL_SECONDS = 0.2


def wait_for_others(
    names: Callable[[], Sequence[str]], cache_dir: Path, shard: Shard, patience: float
) -> None:
    """Return when all shards of the caches are done, and nobody is completing them.

    names: of the keys that are not complete at the time of the call. patience: see ``PATIENCE``.

    Raises:
        UserError: a shard is missing whose process is not at work.
    """
    seen = said = time.monotonic()
    while unfinished := names():
        missing = _missing(unfinished, cache_dir, shard.count)
        if not missing:
            with writing(unfinished, cache_dir):
                return
        now = time.monotonic()
        if any(_at_work(unfinished, cache_dir, Shard(i, shard.count)) for i in missing):
            seen = now
        numbers = ", ".join(map(str, missing))
        if now - seen > patience:
            raise UserError(
                f"shard={shard.index}/{shard.count}: its own rows are stored, but not those of "
                f"shard {numbers}, which no process is working on",
                fix=f"shard={missing[0]}/{shard.count} in another process, then this command "
                "again: it goes on from here",
            )
        if now - said >= LINE_SECONDS:
            said = now
            log.info("waiting for the rows of shard %s of %d", numbers, shard.count)
        time.sleep(POLL_SECONDS)


def _missing(names: Sequence[str], cache_dir: Path, count: int) -> list[int]:
    """Shards of which some rows are missing in one of the caches."""
    done = [done_shards(cache_dir / name, count) for name in names]
    return [index for index in range(count) if not all(index in of for of in done)]


def _at_work(names: Sequence[str], cache_dir: Path, shard: Shard) -> bool:
    """Whether a process holds the lock of this shard of one of the caches."""
    for name in names:
        try:
            with filelock.FileLock(cache_dir / f"{shard_lock(name, shard)}.lock", timeout=0):
                pass
        except filelock.Timeout:
            return True
    return False
