"""Processes that may do no more than any user, where the tests run as root: root may read and write
whatever there is, so that an error of permissions never comes up.

Root without its capabilities is a user like others, whose files are those of root: it can run this
Python and read the project wherever they are, which another user may not.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

SOMEBODY = 12345
"""Another user, who need not exist."""
PR_SET_SECUREBITS, SECBIT_NOROOT = 28, 1
CAPABILITY_VERSION_3 = 0x20080522


def drop_privileges() -> None:
    """Give up what root may do beyond other users, here and in what is executed from here."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    for status in (libc.prctl(PR_SET_SECUREBITS, SECBIT_NOROOT, 0, 0, 0),
                   libc.capset(header, nothing)):  # fmt: skip
        if status:
            raise OSError(ctypes.get_errno(), "privileges cannot be dropped")


@contextlib.contextmanager
def mode(path: Path, bits: int) -> Iterator[Path]:
    """Give a file or directory these permissions inside."""
    before = path.stat().st_mode
    path.chmod(bits)
    try:
        yield path
    finally:
        path.chmod(before)


@contextlib.contextmanager
def somebody_elses(directory: Path) -> Iterator[Path]:
    """Inside, a directory and all that is in it may be read and not written.

    They are another user's where the tests run as root.
    """
    every = [directory, *directory.rglob("*")]
    before = {path: path.stat().st_mode for path in every}
    for path in every:
        path.chmod(0o555 if path.is_dir() else 0o444)
        if os.geteuid() == 0:
            os.chown(path, SOMEBODY, SOMEBODY)
    try:
        yield directory
    finally:
        for path, bits in before.items():
            if os.geteuid() == 0:
                os.chown(path, 0, 0)
            path.chmod(bits)
