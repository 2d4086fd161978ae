"""Files of a run or an atlas are the ones that its record was written with.

The record (``run.json``, ``atlas.json``) holds the size and SHA-256 of each file that is read back,
and a digest of its own content: a table cut short, a flipped digit or a file of another run is
refused. Records of earlier versions have neither; ``probes.results.plausible`` looks at those.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from probes.core.errors import UserError
from probes.core.files import digest
from probes.core.records import from_json

FILES, DIGEST = "files", "digest"
"""Keys of a record."""
RUN_FILES = ("results.csv", "probes.safetensors", "probes.json", "evidence.safetensors")
"""What a run leaves for other programs, beside ``run.json``."""


@dataclass(frozen=True)
class FileDigest:
    """What a file was when the record was written."""

    bytes: int
    sha256: str


Digests = Mapping[str, FileDigest]
"""By name of the file; empty where an earlier version wrote the record."""
NO_DIGESTS: Digests = {}


def file_digests(directory: Path, names: Iterable[str]) -> dict[str, FileDigest]:
    """Of those of the files that are there."""
    digests = {}
    for path in (directory / name for name in names):
        if path.is_file():
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            digests[path.name] = FileDigest(path.stat().st_size, sha256)
    return digests


def sealed(content: dict[str, object], files: Digests) -> dict[str, object]:
    """A record's content with the digests of its files and of itself.

    content: as JSON gives it back.
    """
    whole = {**content, FILES: {name: asdict(entry) for name, entry in files.items()}}
    return {**whole, DIGEST: digest(whole)}


def check_seal(content: Mapping[str, object], path: Path) -> dict[str, object]:
    """The content of a record without the digest of itself.

    Raises:
        UserError: the content is not what the digest was made of.
    """
    whole = dict(content)
    expected = whole.pop(DIGEST, None)
    if (expected is not None or FILES in whole) and digest(whole) != expected:
        raise damaged(path, "its content differs from its checksum")
    return whole


def digests_of(content: Mapping[str, object], path: Path) -> dict[str, FileDigest]:
    """The digests of the files of a record.

    Raises:
        UserError: they are of another form.
    """
    files = content.get(FILES, {})
    if not isinstance(files, dict):
        raise damaged(path, f"{FILES} is no object")
    return {
        name: from_json(FileDigest, entry, where=f"{path}: {FILES}: {name}")
        for name, entry in files.items()
    }


def read_checked(path: Path, digests: Digests, *, fix: str = "") -> bytes:
    """The bytes of a file, which must be those that the record was written with.

    digests: of the record; without any, nothing is compared. fix: what to try where there is no
        such file.

    Raises:
        UserError: the file is missing, unreadable, or another than the record's.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file", fix=fix) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if not digests:
        return raw
    expected = digests.get(path.name)
    if expected is None:
        raise damaged(path, "the record of the run does not know it")
    if len(raw) != expected.bytes:
        raise damaged(path, f"it has {len(raw)} bytes, its run wrote {expected.bytes}")
    if hashlib.sha256(raw).hexdigest() != expected.sha256:
        raise damaged(path, "its checksum is not the one its run has recorded")
    return raw


def has_content(path: Path) -> bool:
    """Whether there is a file with something else than zeros in it."""
    try:
        return bool(path.read_bytes().strip(b"\0"))
    except OSError:
        return path.is_file()


def damaged(path: Path, reason: str) -> UserError:
    """What is said of a file that cannot be trusted."""
    return UserError(
        f"{path} was refused: {reason}", fix="running the job again, or a copy that is intact"
    )
