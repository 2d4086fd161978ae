"""Finding and reading the files of a corpus; whatever is wrong with them names file and line."""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from probes.core.errors import UserError, closest
from probes.core.overrides import override
from probes.corpora.corpus import SPLITS
from probes.corpora.decoding import (
    COMPRESSED,
    decoded,
    decompressed,
    fitting_encoding,
    hidden_controls,
)


def existing(value: str | None, key: str) -> Path:
    """The file or directory that a config key names; raises ``UserError`` if there is none."""
    if value is None or value == "???" or not str(value).strip():
        raise UserError(f"{key} is not set", fix=f"{key}=PATH")
    path = Path(value).expanduser()
    if path.exists():
        return path
    parent = path.parent
    if not parent.is_dir():
        raise UserError(
            f"{key}={value}: no such file or directory ({parent} does not exist either)"
        )
    names = sorted(entry.name for entry in parent.iterdir())
    near = closest(path.name, names)
    raise UserError(
        f"{key}={value}: no such file or directory",
        allowed=f"what {parent} holds: {_some(names)}",
        fix=override(key, str(parent / near)) if near else "",
    )


def parts(splits: Mapping[str, str | None]) -> Iterator[tuple[int, str]]:
    """Split and part of ``corpus.splits``: train, then test, then validation.

    A part named twice comes once: ``corpus.splits={train: dev, test: test}`` leaves the default
    ``validation: dev`` in place, and reading it again would put every text on two sides.
    """
    unknown = sorted(set(splits) - set(SPLITS))
    if unknown:
        raise UserError(
            f"corpus.splits={{{unknown[0]}: ...}}: no such split",
            allowed=", ".join(SPLITS),
            fix=closest(unknown[0], list(SPLITS), f"corpus.splits.{{}}={splits[unknown[0]]}"),
        )
    taken = set()
    for name in ("train", "test", "validation"):
        part = splits.get(name)
        if part is not None and part not in taken:
            taken.add(part)
            yield SPLITS.index(name), part


def inside(directory: Path, name: str, key: str) -> Path:
    """The file ``name`` in a directory; names that lead out of it are refused."""
    joined = Path(os.path.normpath(directory / name))
    if Path(name).is_absolute() or not joined.is_relative_to(os.path.normpath(directory)):
        raise UserError(
            f"{key}={name}: leads out of corpus.path={directory}",
            allowed="names of files in that directory",
        )
    return existing(str(joined), key)


def matching(directory: Path, pattern: str, key: str) -> list[Path]:
    """Files of a directory that a name or pattern such as ``*.jsonl`` stands for, sorted."""
    if not any(mark in pattern for mark in "*?["):
        return [inside(directory, pattern, key)]
    files = sorted(path for path in directory.glob(pattern.lstrip("/")) if path.is_file())
    files = [path for path in files if ".." not in path.relative_to(directory).parts]
    if not files:
        names = sorted(entry.name for entry in directory.iterdir())
        raise UserError(f"{key}={pattern}: no file of {directory} matches", allowed=_some(names))
    return files


def read_text(path: Path, encoding: str = "utf-8", notes: list[str] | None = None) -> str:
    """The decoded file, decompressed where it is compressed.

    notes: gets a sentence where the encoding is probably another one.

    Raises:
        UserError: the file cannot be read, decompressed or decoded.
    """
    if path.is_dir():
        raise UserError(f"{path} is a directory, not a file")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    content = decompressed(path, content)
    text = decoded(path, content, encoding)
    if notes is None or codecs.lookup(encoding).name != "iso8859-1":
        return text
    controls = hidden_controls(text)
    if controls and fitting_encoding(content) == "cp1252":
        notes.append(
            f"{path.name}: {controls} control characters, which are quotes and dashes in cp1252. "
            "Try corpus.encoding=cp1252"
        )
    return text


def lines_of(text: str) -> list[str]:
    r"""The lines of a text, which end in ``\n`` or ``\r\n``; where it has neither, in ``\r``.

    Not ``str.splitlines``, which also breaks at characters like U+0085 that texts contain.
    """
    text = text.replace("\r\n", "\n")
    return (text if "\n" in text else text.replace("\r", "\n")).split("\n")


def uncompressed_name(path: Path) -> Path:
    """The path without the ending of compressed files.

    >>> uncompressed_name(Path("reviews.csv.gz")).name
    'reviews.csv'
    """
    return path.with_suffix("") if path.suffix.lower() in COMPRESSED else path


def read_json(path: Path, encoding: str = "utf-8") -> Any:
    """The content of a JSON file; what is not JSON raises ``UserError`` with its line."""
    try:
        return json.loads(read_text(path, encoding))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {error.lineno}: not JSON: {error.msg} at column {error.colno}"
        ) from error


def json_files(path: Path) -> dict[str, Path]:
    """The JSON files of a directory and below it by name without ending, sorted; or one file."""
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    return {file.stem: file for file in sorted(files, key=lambda file: file.stem)}


def _some(names: list[str], most: int = 12) -> str:
    if not names:
        return "nothing"
    rest = f", ... ({len(names) - most} more)" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
