"""Calls of a service that may fail at any time, and whose failure must cost nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)


class Guard:
    """Carries out calls until one fails, says that once, and leaves the others out.

    >>> guard = Guard("W&B", in_words=str)
    >>> guard("adding", lambda: 1 + 1), guard.failed
    (2, False)
    """

    def __init__(self, service: str, in_words: Callable[[BaseException], str]) -> None:
        """service: as the warning calls it. in_words: an error, with nothing secret in it."""
        self.service, self.in_words = service, in_words
        self.failed = False
        """Whether a call has failed."""
        self.consequence = "results are not affected"
        """What follows from a failure, for the warning."""

    def __call__(self, what: str, call: Callable[[], T]) -> T | None:
        """The result of a call; None where it fails, or an earlier one has.

        what: it does, as in "logging metrics".
        """
        return None if self.failed else self.last(what, call)

    def last(self, what: str, call: Callable[[], T]) -> T | None:
        """The same, but carried out after a failure, too: it lets go of the service."""
        told = self.failed
        try:
            return call()
        # Some versions of W&B end the process where they cannot go on.
        except (Exception, SystemExit) as error:
            self.failed = True
            if not told:
                words = self.in_words(error)
                log.warning("%s: %s failed (%s); %s", self.service, what, words, self.consequence)
            return None
