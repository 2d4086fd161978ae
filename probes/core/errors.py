"""The one exception that ends a run with a message instead of a traceback."""

from __future__ import annotations

ERROR_FILE = "error.json"
"""In the directory of a job that failed: the kind of the error and its message."""


class UserError(Exception):
    """A mistake that the user can fix: the command line prints it and exits with status 2.

    The message has three parts, each optional but the first: what is wrong, with its value; what
    is allowed; the exact override (or action) that fixes it.

    >>> print(UserError("site=head", allowed="heads, residual", fix="site=heads"))
    site=head; allowed: heads, residual. Try site=heads
    """

    def __init__(self, wrong: str, *, allowed: str = "", fix: str = "") -> None:
        self.wrong, self.allowed, self.fix = wrong, allowed, fix
        message = wrong
        if allowed:
            message += f"; allowed: {allowed}"
        if fix:
            message += f". Try {fix}"
        super().__init__(message)

    def __reduce__(self) -> tuple[object, ...]:
        # Launchers send exceptions between processes; the default would lose the keywords.
        return _rebuild, (self.wrong, self.allowed, self.fix)


def _rebuild(wrong: str, allowed: str, fix: str) -> UserError:
    return UserError(wrong, allowed=allowed, fix=fix)


def closest(name: str, names: list[str]) -> str:
    """The name of ``names`` nearest in spelling to ``name``, or the first of them."""
    from difflib import get_close_matches

    return (get_close_matches(name, names, n=1, cutoff=0.0) or names or [""])[0]
