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


SIMILAR = 0.65
"""Below it (``difflib``'s ratio, 1 for equal) a name is not what was meant."""


def closest(name: str, names: list[str], form: str = "{}") -> str:
    """The name of ``names`` nearest in spelling to ``name``; empty where none is similar.

    form: of the text that is returned, with the name in the place of ``{}``.

    >>> closest("upso", ["upos", "number"], "features=[{}]"), closest("zzz", ["upos", "number"])
    ('features=[upos]', '')
    """
    from difflib import get_close_matches

    lower = {other.lower(): other for other in reversed(names)}
    near = get_close_matches(name.lower(), list(lower), n=1, cutoff=SIMILAR)
    if not near and len(name) >= 3:
        near = [other for other in lower if other.startswith(name.lower())]
    return form.replace("{}", lower[near[0]]) if near else ""
