"""Files that are complete or absent: atomic writes, locks, checksums, and what a full disk says."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import math
import os
import secrets
import shutil
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

from probes.core.errors import UserError

log = logging.getLogger(__name__)

PIECE = 1 << 20  # bytes read at a time: they stay in the processor's cache while they are checked
ALIGNMENT = 64
"""Bytes: a cache line, so that vector loads from a mapped file are aligned."""
DEEPEST = 60
"""Levels of lists and objects in a JSON file; ours have about ten."""
NEW_PARENTS = 4
"""Directories above a run's that may have been made for it (``outputs/<day>/<time>``)."""
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}


def size(n_bytes: int) -> str:
    """Bytes for people: ``1.5 GB``."""
    value = float(n_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def free_bytes(directory: Path) -> int:
    """Bytes that an unprivileged user may still write below ``directory``."""
    return shutil.disk_usage(directory).free


@contextlib.contextmanager
def disk_errors(cache_dir: Path, needed: int) -> Iterator[None]:
    """Turn a full, read-only or forbidden disk into a ``UserError`` with the figures."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise UserError(
                f"cache_dir={cache_dir}: the activations need {size(needed)}, and the disk has "
                f"{size(free_bytes(existing_parent(cache_dir)))} free ({error.strerror})",
                fix="cache_dir=DIRECTORY_ON_A_LARGER_DISK, fewer layers= or another corpus size",
            ) from error
        if error.errno in FORBIDDEN:
            raise UserError(
                f"cache_dir={cache_dir} cannot be written: {error.strerror} ({error.filename})",
                fix="cache_dir=DIRECTORY_YOU_CAN_WRITE_TO",
            ) from error
        raise


def existing_parent(path: Path) -> Path:
    """``path`` or the nearest directory above it that exists."""
    path = path.absolute()
    while not path.is_dir():
        path = path.parent
    return path


def reserve(descriptor: int, n_bytes: int) -> None:
    """Give a file its final size with real blocks behind it.

    A sparse file would take the disk's "full" as a fatal signal at the first write through a
    memory map; here it is an ``OSError`` before anything is computed.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, n_bytes)
        return
    zeros = bytes(1 << 20)
    for begin in range(0, n_bytes, len(zeros)):
        os.pwrite(descriptor, zeros[: n_bytes - begin], begin)


def read_exactly(descriptor: int, buffer: memoryview, offset: int) -> bool:
    """Fill ``buffer``; false where the file ends before (one read may return a part)."""
    done = 0
    while done < len(buffer):
        count = os.preadv(descriptor, [buffer[done:]], offset + done)
        if count == 0:
            return False
        done += count
    return True


def checksum(descriptor: int, offset: int, n_bytes: int) -> int | None:
    """CRC-32 of a part of a file, in constant memory; None where the file ends before."""
    buffer, value = memoryview(bytearray(min(PIECE, n_bytes))), 0
    for begin in range(0, n_bytes, PIECE):
        piece = buffer[: min(PIECE, n_bytes - begin)]
        if not read_exactly(descriptor, piece, offset + begin):
            return None
        value = zlib.crc32(piece, value)
    return value


def sync_file(path: Path) -> None:
    """Make the content of a file survive a power cut."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_directory(directory: Path) -> None:
    """Make names created, renamed or removed in ``directory`` survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_path(path: Path, *, durable: bool = True, shared: bool = False) -> Iterator[Path]:
    """Yield a temporary name beside ``path``, and rename the file written there to ``path``.

    A reader sees the old content or the new, never a part. Where the block raises, ``path`` stays
    as it was and the temporary file is removed.

    durable: the file and its name survive a power cut (``fsync``). shared: several processes may
    write this file at the same time without a lock, the last one wins; each then has a temporary
    name of its own, where otherwise what a killed process left is overwritten by the next one.
    """
    suffix = f".{secrets.token_hex(4)}.new" if shared else ".new"
    temporary = path.with_name(path.name + suffix)
    try:
        yield temporary
        if durable:
            sync_file(temporary)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if durable:
        sync_directory(path.parent)


def write_atomically(
    path: Path, content: bytes | str, *, durable: bool = True, shared: bool = False
) -> None:
    """Replace the content of ``path`` at once (text as UTF-8); see ``atomic_path``."""
    with atomic_path(path, durable=durable, shared=shared) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def locked(path: Path, *, wait_message: str) -> Iterator[None]:
    """Hold the lock file ``path`` (in an existing directory) and wait for whoever else does.

    wait_message: logged once, where another process holds the lock. The system releases the lock
    of a process that dies.
    """
    import filelock  # it imports asyncio: 50 ms, which the answer to a typo should not wait for

    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        log.info("%s", wait_message)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def sync_tree(directory: Path, *, without: str | None = None) -> None:
    """Make everything in a directory, and the directory itself, survive a power cut.

    without: name of a directory in it that may be lost.
    """
    for folder, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if name != without]
        for name in names:
            sync_file(Path(folder, name))
        sync_directory(Path(folder))
    own = directory.absolute()
    device = own.stat().st_dev
    for parent in list(own.parents)[:NEW_PARENTS]:
        if parent.stat().st_dev != device or not os.access(parent, os.R_OK):
            break
        sync_directory(parent)


def paths_below(directory: Path, name: str) -> list[Path]:
    """The files and directories of this name at any depth, where other processes may be making and
    removing directories (``Path.glob`` raises where one vanishes while it looks)."""
    return [
        Path(folder, name)
        for folder, folders, names in os.walk(directory)
        if name in folders or name in names
    ]


def read_json(path: Path, *, fix: str = "") -> dict[str, object]:
    """The object in a JSON file; fix: what to try where there is no such file.

    Raises:
        UserError: no such file, one that cannot be read, or no JSON object in it.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file", fix=fix) from None
    except OSError as error:
        raise UserError(f"{path}: unreadable ({error.strerror})") from None
    return parse_json(raw, path)


def parse_json(raw: bytes, path: Path) -> dict[str, object]:
    """The object in the bytes of the JSON file ``path``.

    Raises:
        UserError: no JSON object, one that is nested too deep for the functions that walk through
            it, or numbers that JSON does not have (NaN, 1e999).
    """
    try:
        content = json.loads(raw.decode(), parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: unreadable, so refused ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no JSON object")
    level: list[object] = [content]
    for _ in range(DEEPEST):
        level = [inner for value in level for inner in _values(value)]
        if not level:
            return cast(dict[str, object], content)
    raise UserError(f"{path}: unreadable, so refused (nested deeper than {DEEPEST} levels)")


def _values(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number of JSON")
    return value


def canonical(value: object) -> bytes:
    """JSON with one spelling for one value, for hashing."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def digest(value: object) -> str:
    """SHA-256 of a JSON value, in hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()
