"""Rows of JSON files: one object a line, or one list of objects, whatever the ending says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from probes.core.errors import UserError
from probes.corpora.files import lines_of
from probes.corpora.readers.columns import Row


def json_rows(path: Path, text: str, kind: str) -> Iterator[tuple[int, Row]]:
    """Line (or number in the list, from 1) and columns of each row.

    kind: ``json`` or ``jsonl``, which only decides what an error says.
    """
    start = text.lstrip()[:1]
    if kind == "jsonl" and start != "[":
        yield from _lines(path, text)
        return
    try:
        content = json.loads(text, object_pairs_hook=_unique)
    except _RepeatedName as error:
        raise _repeated(str(path), error) from error
    except (json.JSONDecodeError, RecursionError) as error:
        if kind == "json" and not _are_lines(text):
            raise _not_json(path, error) from error
        yield from _lines(path, text)
        return
    if isinstance(content, list) and all(isinstance(row, dict) for row in content):
        yield from enumerate(content, start=1)
    elif kind == "json" and not _are_lines(text):
        raise UserError(
            f"{path}: not a JSON list of objects", allowed="[{...}, {...}]; or one object a line"
        )
    else:
        yield from _lines(path, text)


def _lines(path: Path, text: str) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(lines_of(text), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_unique)
        except _RepeatedName as error:
            raise _repeated(f"{path}, line {number}", error) from error
        except json.JSONDecodeError as error:
            raise UserError(
                f"{path}, line {number}: not JSON: {error.msg} at column {error.colno}",
                allowed="one JSON object a line",
            ) from error
        except RecursionError as error:
            raise UserError(f"{path}, line {number}: JSON that is nested too deeply") from error
        if not isinstance(row, dict):
            raise UserError(
                f"{path}, line {number}: a JSON {type(row).__name__}",
                allowed="one JSON object a line",
            )
        yield number, row


class _RepeatedName(Exception):
    """An object has two values of one name."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _RepeatedName(f"two columns are called '{twice}'")
    return row


def _repeated(place: str, error: _RepeatedName) -> UserError:
    return UserError(f"{place}: {error}", allowed="columns with names of their own")


def _are_lines(text: str) -> bool:
    """Whether there are several lines, and the first one is a JSON object."""
    lines = [line for line in lines_of(text) if line.strip()]
    try:
        return len(lines) > 1 and isinstance(json.loads(lines[0]), dict)
    except (json.JSONDecodeError, RecursionError):
        return False


def _not_json(path: Path, error: Exception) -> UserError:
    if isinstance(error, json.JSONDecodeError):
        return UserError(
            f"{path}, line {error.lineno}: not JSON: {error.msg} at column {error.colno}"
        )
    return UserError(f"{path}: JSON that is nested too deeply")
