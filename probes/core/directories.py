"""Making a directory that a setting names, or saying why that cannot be."""

from __future__ import annotations

import errno
import os
import traceback
from pathlib import Path

from probes.core.errors import UserError

MAKING = {"mkdir", "makedirs"}
"""Functions of the standard library that make directories."""
SHOWN = 60
"""Characters of a path that is too long."""


def make_directory(directory: Path, key: str) -> None:
    """Make a directory and those above it.

    key: of the setting that names it.

    Raises:
        UserError: it cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise not_made(key, str(directory), error) from None


def is_of_making(error: OSError) -> bool:
    """Whether a directory could not be made, although what is above it is there.

    A directory that is missing above is a mistake of the program; one that is there and takes no
    directory (``/proc``) is the user's.
    """
    calls = traceback.extract_tb(error.__traceback__)
    if not calls or calls[-1].name not in MAKING or error.errno in (errno.ENOSPC, errno.EDQUOT):
        return False
    return error.errno != errno.ENOENT or Path(str(error.filename)).parent.is_dir()


def not_made(key: str, directory: str, error: OSError) -> UserError:
    """The message for a directory of the setting ``key`` that cannot be made."""
    if error.errno == errno.ENAMETOOLONG:
        return UserError(
            f"{key}={directory[:SHOWN]}... is too long ({len(directory)} characters)",
            allowed="255 bytes for each of its parts, about 4,000 in all",
            fix=f"{key}=DIRECTORY",
        )
    where = Path(str(error.filename or directory))
    files = [path for path in (where, *where.parents) if os.path.lexists(path)]
    in_the_way = bool(files) and not files[0].is_dir()
    reason = f"{files[0]} is no directory" if in_the_way else f"{where}: {error.strerror}"
    return UserError(
        f"{key}={directory}: this directory cannot be made ({reason})",
        fix=f"{key}=DIRECTORY_YOU_CAN_WRITE_TO",
    )
