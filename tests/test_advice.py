"""What messages advise can be typed: every override after ``Try`` has a key that there is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from probes.cli.overrides import checked
from probes.config import SCHEMAS, ComposedConfig
from tests.documented_commands import OVERRIDE

PACKAGE = Path(__file__).resolve().parent.parent / "probes"
IN_PYTHON = {"head", "layer", "stream", "shard", "safe_serialization"}
"""Arguments of functions, in messages of the library."""
HOLE = "HOLE"
"""Stands for a value that is only known when the message is made."""


def advice() -> Iterator[tuple[str, str]]:
    """Where, and text of each ``fix=`` of a message, as far as it stands in the source."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            for keyword in node.keywords:
                if keyword.arg == "fix":
                    for text in texts(keyword.value):
                        yield f"{path.relative_to(PACKAGE)}:{keyword.value.lineno}", text


def texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.IfExp):
        yield from texts(node.body)
        yield from texts(node.orelse)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(
            str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values
        )
    elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "closest":
        yield from (text.replace("{}", HOLE) for a in node.args[2:] for text in texts(a))


OVERRIDES = sorted(
    {
        (found, where)
        for where, text in advice()
        if not text.startswith(("python ", "pip "))
        for found in re.findall(rf"(?<![\w.{{-]){OVERRIDE}", text)
        if not found.startswith(HOLE) and found.partition("=")[0] not in IN_PYTHON
    }
)


@pytest.mark.parametrize(("text", "where"), OVERRIDES, ids=lambda value: str(value))
def test_every_advised_override_can_be_typed(text: str, where: str) -> None:
    text = text.rstrip(".:)")
    (argument,) = checked([text.replace("...", HOLE)])
    parsed = OverridesParser.create().parse_override(argument)
    key = parsed.key_or_group
    if HOLE in key.split(".")[0] or "/" in key or key.startswith("hydra."):
        return
    assert key in (*SCHEMAS, "model", "trainer", "logger", "experiment") or exists(key), where


def exists(key: str) -> bool:
    """Whether some choice of the groups has this key; a hole in it may be any name."""
    group, _, rest = key.partition(".")
    if group in SCHEMAS:
        return any(has(schema, rest) for schema in SCHEMAS[group].values())
    return has(ComposedConfig, key)


def has(schema: Any, key: str) -> bool:
    if not key or key == HOLE:
        return True
    name, _, rest = key.partition(".")
    hints = get_type_hints(schema)
    if name not in hints:
        return False
    kind = hints[name]
    if name in ("simplified", "atlas"):  # a configuration, or null
        kind = kind.__args__[0]
    return not rest or get_origin(kind) is dict or has(kind, rest)


def test_there_is_advice() -> None:
    assert len(OVERRIDES) > 80
