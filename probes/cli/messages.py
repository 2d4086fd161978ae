"""What the command line prints about an error."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from probes.core.claims import TRY_LATER, AtWork
from probes.core.directories import is_of_making
from probes.core.errors import UserError
from probes.core.shown import shown

DONE, BUG, MISTAKE, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143
"""Exit statuses, beside ``TRY_LATER``; a mistake is what the user can fix."""


@dataclass(frozen=True)
class Failure:
    """What is kept of an error that ended a job of a sweep: text, and nothing that it held."""

    message: str | None
    """Of a mistake that the user can fix."""
    traceback: str
    status: int = MISTAKE
    """Of the command, where it is no bug."""


def released(error: Exception) -> Failure:
    """The words of an error, whose frames are emptied: they hold the job's open files and
    activations as long as the exception lives."""
    status = TRY_LATER if isinstance(error, AtWork) else MISTAKE
    failure = Failure(describe(error), "".join(traceback.format_exception(error)), status)
    chain: list[BaseException] = [error]
    seen: set[int] = set()
    while chain:
        link = chain.pop()
        if id(link) in seen:
            continue
        seen.add(id(link))
        traceback.clear_frames(link.__traceback__)
        chain += [other for other in (link.__cause__, link.__context__) if other is not None]
        link.with_traceback(None)
    return failure


def report(error: Exception | Failure, *, with_traceback: bool = False) -> int:
    """Print an error to stderr: one message for a mistake, the traceback of a bug.

    with_traceback: print the traceback of a mistake as well.

    Returns:
        The exit status.
    """
    failure = error if isinstance(error, Failure) else released(error)
    message = failure.message
    if message is None or with_traceback:
        print(shown(failure.traceback), end="", file=sys.stderr)
    if message is None:
        return BUG
    print(f"error: {shown(message)}", file=sys.stderr)
    return failure.status


def worst(statuses: Iterable[int]) -> int:
    """The exit status of a command whose parts ended with these: a failure is worse than a wait.

    >>> worst([0, 75, 2]), worst([0, 75]), worst([1, 0]), worst([])
    (2, 75, 1, 0)
    """
    given = list(statuses)
    failures = [status for status in given if status != TRY_LATER]
    return max(failures, default=DONE) or (TRY_LATER if TRY_LATER in given else DONE)


def describe(error: Exception) -> str | None:
    """The message of a mistake that the user can fix; ``None`` for anything else."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOENT and is_of_making(error):
        return str(UserError(f"{error.filename} cannot be made: {error.strerror}"))
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return str(_denied(error))
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        name = str(error.filename)
        return str(UserError(f"the path {name[:40]}... is too long ({len(name)} characters)",
                             allowed="255 bytes for each of its parts"))  # fmt: skip
    if isinstance(error, OSError) and error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
        return str(UserError(f"{error.filename} is in the way: {error.strerror}"))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return str(UserError(f"the disk is full: {error}", fix="hydra.run.dir=DIR cache_dir=DIR"))
    # safetensors wraps the system's errors in its own.
    if type(error).__name__ == "SafetensorError" and f"os error {errno.ENOSPC})" in str(error):
        return str(UserError("the disk is full", fix="hydra.run.dir=DIR cache_dir=DIR"))
    # Late: commands that do not compose a configuration should not wait for Hydra.
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, HydraException | OmegaConfBaseException):
        mistake = _cause(error, UserError)  # of something that conf/ computes
        if mistake is not None:
            return str(mistake)
        reasons = [str(error)]
        while (cause := error.__cause__) is not None:
            reasons.append(str(cause))
            error = cause  # type: ignore[assignment]
        lines = [line.strip() for reason in reasons for line in reason.splitlines()]
        noise = ("Config search path", "provider=", "full_key:", "object_type=", "Set the env")
        unique = dict.fromkeys(line for line in lines if line and not line.startswith(noise))
        return "\n       ".join(unique) + "\n       See the keys and choices with --help"
    return None


def _denied(error: OSError) -> UserError:
    """The message for what may not be read, or not be written."""
    path = Path(str(error.filename))
    there = next((p for p in (path, *path.absolute().parents) if os.path.exists(p)), Path("/"))
    if not os.access(there, os.R_OK | os.X_OK if there.is_dir() else os.R_OK):
        return UserError(f"no permission to read {path}", fix="a copy that you can read")
    # A file that is not there has a temporary name, or none that the user has given.
    return UserError(
        f"no permission to write {there}",
        fix="a directory that you can write to: hydra.run.dir=DIR, hydra.sweep.dir=DIR of a sweep",
    )


def _cause(error: BaseException, kind: type[Exception]) -> BaseException | None:
    """The first of the errors that an error comes from that is of this kind."""
    while error.__cause__ is not None:
        error = error.__cause__
        if isinstance(error, kind):
            return error
    return None
