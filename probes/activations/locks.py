"""Who may write a cache: one process, or one for each shard of its rows.

The lock of a cache, ``<key>.lock``, is held by a run without shards all the time, and by a shard
while it opens or completes the cache; in between a shard holds ``<key>.shard_I_of_N.lock``.
The empty files stay: were one removed, a process that waits for it and one that makes it anew would
both write. (The ``.lock`` of a run directory, which nobody waits for, is removed at its end.)
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import filelock

from probes.core.errors import UserError
from probes.core.files import disk_errors, locked
from probes.passes.shards import Shard


def shard_lock(key: str, shard: Shard) -> str:
    """The name, for ``writing``, of what only this shard of a cache writes."""
    return f"{key}.shard_{shard.index:03d}_of_{shard.count:03d}"


@contextlib.contextmanager
def writing(names: Sequence[str], cache_dir: Path) -> Iterator[None]:
    """Hold the locks of these names, taken in one order everywhere so that no two processes wait
    for each other.

    Raises:
        UserError: where ``cache_dir`` cannot be made or written.
    """
    with disk_errors(cache_dir, 0):
        cache_dir.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        for name in sorted(names):
            waiting = f"another run is extracting {cache_dir / name}; waiting for it"
            with disk_errors(cache_dir, 0):
                stack.enter_context(locked(cache_dir / f"{name}.lock", wait_message=waiting))
        yield


def require_idle(key: str, cache_dir: Path, own: Sequence[str]) -> None:
    """Check that no shards of a cache are being written, but those whose locks are ``own``.

    Raises:
        UserError: where some are.
    """
    for path in sorted(cache_dir.glob(f"{key}.shard_*.lock")):
        if path.stem in own:
            continue
        try:
            with filelock.FileLock(path, timeout=0):
                pass
        except filelock.Timeout:
            raise UserError(
                f"{cache_dir / key} is being extracted in other shards or with other settings "
                f"({path.stem})",
                fix="waiting until these runs end, or cache_dir=ANOTHER_DIRECTORY",
            ) from None
