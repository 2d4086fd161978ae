"""Files of parts of a run's work, in a directory that one process writes: what is stored is not
done again.

A file counts only where it is whole and of the identity of the work: all that may change its
results. Any other is removed, and its part done again.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from probes.core.errors import UserError
from probes.core.files import digest, write_atomically
from probes.results.integrity import damaged

log = logging.getLogger(__name__)

T = TypeVar("T")

Decode = Callable[[bytes, Path], tuple[T, Mapping[str, Any]]]
"""What a file holds, and what stands beside it: ``identity`` and ``node``. Raises ``UserError`` for
bytes that are not those that were written."""


class StoredParts(Generic[T]):
    """The files of one kind of parts."""

    def __init__(
        self,
        directory: Path,
        suffix: str,
        identity: Mapping[str, Any],
        *,
        decode: Decode[T],
        again: str,
    ) -> None:
        """suffix: of the files of this kind. again: what is done with a part whose file does not
        count, for the log: ``fitted``, ``measured``."""
        self.directory, self.suffix, self.identity = directory, suffix, identity
        self.decode, self.again = decode, again
        self.nodes: set[str] = set()
        """The kinds of processors of all parts that were read or written."""

    def about(self, node: str) -> dict[str, str]:
        """What is stored beside a part that is made on this kind of processor."""
        return {"identity": digest(self.identity), "node": node}

    def write(self, name: str, raw: bytes, node: str | None = None) -> None:
        """Store a part.

        Not made durable: a power cut costs what was stored last, whose checksum then differs.
        """
        self.directory.mkdir(exist_ok=True)
        write_atomically(self.directory / name, raw, durable=False)
        if node is not None:
            self.nodes.add(node)

    def usable(self) -> Iterator[tuple[Path, T]]:
        """The parts that are whole and of this identity; the files of others are removed."""
        for path in sorted(self.directory.glob(f"*{self.suffix}")):
            try:
                part = self.read(path)
            except UserError as error:
                log.info("%s; it is %s again", error.wrong, self.again)
                path.unlink()
                continue
            yield path, part

    def read(self, path: Path, identity: Mapping[str, Any] | None = None) -> T:
        """The part in a file.

        identity: that it must have; None: that of this work.

        Raises:
            UserError: it is damaged, or of another identity.
        """
        return self.decoded(path.read_bytes(), path, identity)

    def decoded(self, raw: bytes, path: Path, identity: Mapping[str, Any] | None = None) -> T:
        """The part in the bytes of the file ``path``; see ``read``."""
        part, about = self.decode(raw, path)
        if about.get("identity") != digest(self.identity if identity is None else identity):
            raise damaged(path, "it is of other settings")
        self.nodes.add(str(about.get("node")))
        return part

    def remove(self) -> None:
        """Remove all files of this kind, and the directory where nothing else is in it."""
        for path in self.directory.glob(f"*{self.suffix}"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not there, or with files of somebody else
            self.directory.rmdir()
