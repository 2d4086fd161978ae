"""Files as nobody of ours writes them: JSON and text with a few changes, for Hypothesis."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = [60, pytest.param(1000, marks=pytest.mark.long)]
"""In every run of the tests, and where there is time."""
STRIDES = [7, pytest.param(1, marks=pytest.mark.long)]
"""Likewise: of the bytes of a file each of these is changed, in all of its bits in turn."""

ODD: list[Any] = [
    *(None, True, -1, 0, 1.5, 1e308, float("nan"), float("inf"), 2**31, 2**63, 10**30),
    *("", "../../x", "/etc/passwd", "\0", "\ud800", "é"),
    *([], {}, [[]], [None], {"_target_": "os.system"}),
]
VALUES = st.sampled_from(ODD) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
ODD_TEXT = [
    *("\t", "\n", "\n\n", "\r", "\r\n", '"', "'", ",", ";", "\\", "_", "#", "-", ".", "=", "|"),
    *("0", "-1", "99999999999999999999", "1-2", "2-1", "1.1", "null", "NaN", "[", "]", "{"),
    *("}", ":", "\0", "\ufeff", "\u2028", "\u0085", "\x1a", "é", "e\u0301", "\ud800"),
    *("# text = ", "# newdoc"),
]


def fuzz(strategy: st.SearchStrategy[Any], examples: int, check: Callable[[Any], None]) -> None:
    """Call ``check`` with many examples; the same ones each time, unless they are very many."""
    run = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=examples < 100,
        suppress_health_check=list(HealthCheck),
    )(given(strategy)(lambda changed: check(changed)))
    run()


@st.composite
def changed_json(draw: st.DrawFn, content: Any) -> Any:
    """A JSON value with one to three changes anywhere in it."""
    changed = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(changed))
        if not places:
            return copy.deepcopy(draw(VALUES))
        container, key = places[draw(st.integers(0, len(places) - 1))]
        action = draw(st.sampled_from(("replace", "near", "remove", "repeat")))
        if action == "replace":
            container[key] = copy.deepcopy(draw(VALUES))
        elif action == "near":
            container[key] = _near(draw, container[key])
        elif action == "remove":
            del container[key]
        elif isinstance(container, list):
            container.insert(key, copy.deepcopy(container[key]))
        else:
            container[draw(st.text(max_size=6))] = copy.deepcopy(container[key])
    return changed


def written(content: Any) -> bytes:
    """As Python's own module writes it, with numbers that JSON does not have."""
    return json.dumps(content).encode("utf-8", "surrogatepass")


@st.composite
def changed_text(draw: st.DrawFn, content: str) -> bytes:
    """A text file with one to four changes, some of them no UTF-8."""
    text = content
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(text)))
        end = min(len(text), begin + draw(st.sampled_from((0, 0, 1, 2, 5, 40))))
        action = draw(st.sampled_from(("insert", "repeat", "move", "text")))
        if action == "insert":
            text = text[:begin] + draw(st.sampled_from(ODD_TEXT)) + text[end:]
        elif action == "repeat":
            text = text[:end] + text[begin:]
        elif action == "move":
            at = draw(st.integers(0, len(text)))
            text = text[:at] + text[begin:end] + text[at:]
        else:
            text = text[:begin] + draw(st.text(max_size=6)) + text[end:]
    raw = text.encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 9)) == 0 and raw:
        at = draw(st.integers(0, len(raw) - 1))
        raw = raw[:at] + bytes([draw(st.integers(0, 255))]) + raw[at + 1 :]
    return raw


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(content, dict | list):
        keys = list(content) if isinstance(content, dict) else range(len(content))
        for key in keys:
            yield content, key
            yield from _places(content[key])


def _near(draw: st.DrawFn, value: Any) -> Any:
    """Another value of its kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return draw(
            st.sampled_from((value + 1, value - 1, -value, value * 1000, str(value), float(value)))
        )
    if isinstance(value, float):
        return draw(
            st.sampled_from(
                (-value, value * 2, value * 1e300, int(value) if abs(value) < 1e15 else 0)
            )
        )
    if isinstance(value, str):
        return draw(
            st.sampled_from(
                (value[:-1], value + "x", value.upper(), value + "/" + value, value * 50)
            )
        )
    if isinstance(value, list):
        return draw(
            st.sampled_from((value[:-1], value[::-1], value * 2, dict(enumerate(map(str, value)))))
        )
    if isinstance(value, dict):
        return list(value.items())
    return 0
