"""A directory that one process writes: made exclusively, or locked while the process lives."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import platform
import re
import time
from collections.abc import Iterator
from contextvars import ContextVar
from itertools import count
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: directories are still made exclusively
    fcntl = None  # type: ignore[assignment]

from probes.core.errors import UserError

log = logging.getLogger(__name__)

LOCK = ".lock"
"""In a directory while a process writes there, with the name of the process."""
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
"""What file systems say that have no locks."""
MOMENT = 0.02
"""Seconds after which a lock is tried again: whoever asks for its holder locks it, too."""
TRIES = 5
POLL = 0.2
"""Seconds between two tries of who waits."""

TRY_LATER = 75
"""Exit status of a command that failed in nothing, but needs what other processes are still making
(``EX_TEMPFAIL`` of BSD's sysexits)."""

SWEEPS = "outputs/sweeps"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
"""Of a sweep: never a path, nor hidden."""

making_directories: ContextVar[bool] = ContextVar("making_directories", default=False)
"""Whether ``fresh_directory`` makes what it names; not where a configuration is only shown."""


class InUse(UserError):
    """Another process writes the directory."""


class AtWork(InUse):
    """Other processes are still making what a command needs."""


class AlreadyFinished(UserError):
    """The directory holds something finished, which stays as it is."""


def fresh_directory(path: str) -> str:
    """Make the directory and return its name, with ``-1``, ``-2``, ... where it is taken.

    Two processes that ask for the same name get two directories (``mkdir`` fails for all but one).
    """
    if not making_directories.get():
        return path
    for number in count():
        name = f"{path}-{number}" if number else path
        try:
            Path(name).mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError:  # Hydra makes it again, and its error becomes a message
            pass
        return name
    raise AssertionError("count() ends")


def sweep_directory(name: str | None, otherwise: str) -> str:
    """The directory of a named sweep, ``outputs/sweeps/NAME``, or a fresh one for none.

    Raises:
        UserError: a name that is no plain file name.
    """
    if name is None:
        return fresh_directory(otherwise)
    if not NAME.fullmatch(str(name)):
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", str(name)).strip("-.")[:60]
        raise UserError(
            f"sweep={name!r} is no name of a directory",
            allowed="letters, digits, '_', '-' and '.', beginning with a letter or digit",
            fix=f"sweep={plain or 'NAME'}, or hydra.sweep.dir=DIRECTORY",
        )
    return f"{SWEEPS}/{name}"


@contextlib.contextmanager
def held(directory: Path, name: str = LOCK, *, waiting: str = "") -> Iterator[None]:
    """Lock a directory that exists while the block runs; the system unlocks what a kill leaves.

    name: of the lock's file there. waiting: what is logged where another process has locked it,
    whose end is then waited for.

    Raises:
        InUse: another process has locked it, and nobody waits.
    """
    path = directory / name
    descriptor = _lock(path, waiting)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()  # before it is unlocked: nobody else has this file
        os.close(descriptor)


def in_use(directory: Path) -> bool:
    """Whether a living process of this machine holds a directory."""
    return bool(holder(directory))


def holder(directory: Path) -> str:
    """The living process of this machine that holds a directory; empty where there is none."""
    try:
        descriptor = os.open(directory / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return ""
    except OSError as error:
        return "" if error.errno in NO_LOCKS else _name_in(descriptor)
    finally:
        os.close(descriptor)


def _name_in(descriptor: int) -> str:
    """What the holder of a lock file has written there."""
    return os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "a process of no name"


def _lock(path: Path, waiting: str) -> int:
    tries = 0
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                name = _name_in(descriptor)
                os.close(descriptor)
                tries += 1
                if tries == TRIES and waiting:
                    log.info("%s (%s); waiting for it", waiting, name)
                if tries < TRIES or waiting:
                    time.sleep(MOMENT if tries < TRIES else POLL)
                    continue
                raise InUse(
                    f"{path.parent} is being written by another run ({name})",
                    fix="another directory, or the same command when that run has ended",
                ) from None
            log.warning("%s: this disk has no locks; start no second run there", path.parent)
        # Whoever held it before may have removed the file that was opened here.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                os.truncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode())
                return descriptor
        os.close(descriptor)
