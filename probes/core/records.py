"""Dataclasses from JSON: every value is checked, and nothing is instantiated by name.

Keys that a newer version has added are ignored with a warning, so that old code reads new files; a
missing key or a value of another type is refused. ``dataclasses.asdict`` is the way back.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import types
import typing
import warnings
from typing import Any, TypeVar

from probes.core.errors import UserError

T = TypeVar("T")


def from_json(cls: type[T], value: object, *, where: str) -> T:
    """An instance of the dataclass ``cls`` from a JSON object.

    Fields may be hinted as str, int, float, bool, Any, object, an enum of these, another dataclass,
    ``X | None``, ``list[X]``, ``tuple[X, ...]``, ``dict[str, X]`` or a bare ``list`` or ``dict``.

    where: the file, and the place in it, that messages name.

    Raises:
        UserError: a field is missing or of another type, or ``value`` names code to run.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Point:
    ...     x: float
    ...     label: str | None = None
    >>> from_json(Point, {"x": 1}, where="points.json")
    Point(x=1.0, label=None)
    >>> from_json(Point, {"x": "far"}, where="points.json")
    Traceback (most recent call last):
    ...
    probes.core.errors.UserError: points.json: x: expected float, found 'far'
    """
    return _build(cls, value, where)


def finite(content: object) -> object:
    """A copy of JSON content with ``None`` for the numbers that JSON does not have (NaN, inf)."""
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _build(cls: type[T], content: object, where: str) -> T:
    if not isinstance(content, dict):
        raise UserError(f"{where}: expected an object, found {content!r:.60}")
    hints = typing.get_type_hints(cls)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    names = {field.name for field in fields}
    unknown = [str(key) for key in content if key not in names]
    if "_target_" in unknown:
        raise UserError(f"{where}: names code to run ('_target_'); records hold data only")
    if unknown:
        warnings.warn(f"{where}: ignoring unknown keys {', '.join(unknown)}", stacklevel=5)
    missing = [
        field.name
        for field in fields
        if field.name not in content
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UserError(f"{where}: without {', '.join(missing)}")
    known = {key: value for key, value in content.items() if key in names}
    return cls(**{key: _cast(hints[key], v, f"{where}: {key}") for key, v in known.items()})


def _cast(hint: Any, value: Any, where: str) -> Any:
    """``value`` if it is of the hinted type, with dataclasses built inside it."""
    origin, parameters = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, where)
    if origin is list and isinstance(value, list):
        return [_cast(parameters[0], item, where) for item in value]
    if origin is tuple and isinstance(value, list) and parameters[1:] == (...,):
        return tuple(_cast(parameters[0], item, where) for item in value)
    if origin is dict and isinstance(value, dict):
        return {key: _cast(parameters[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin in (types.UnionType, typing.Union):
        if value is None and types.NoneType in parameters:
            return None
        return _cast(next(p for p in parameters if p is not types.NoneType), value, where)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        try:
            return hint(value)
        except ValueError:
            allowed = ", ".join(str(member.value) for member in hint)
            raise UserError(f"{where}: found {value!r:.60}", allowed=allowed) from None
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in (Any, object) or (origin is None and type(value) is hint):
        return value
    raise UserError(f"{where}: expected {getattr(hint, '__name__', hint)}, found {value!r:.60}")
