from __future__ import annotations

import dataclasses
import enum
import json
import math
from dataclasses import dataclass, field
from typing import Any

import pytest

from probes.core.errors import UserError
from probes.core.records import finite, from_json


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Head:
    layer: int
    head: int | None = None


@dataclass(frozen=True)
class Record:
    name: str
    value: float
    best: Head
    colour: Colour = Colour.RED
    others: list[Head] = field(default_factory=list)
    shape: tuple[int, ...] = ()
    by_name: dict[str, Head] = field(default_factory=dict)
    free: dict[str, Any] = field(default_factory=dict)


FULL = Record(
    "a", 0.5, Head(1), Colour.BLUE, [Head(2, 3)], (1, 2), {"x": Head(0, 0)}, {"any": [1, {}]}
)


def test_round_trip() -> None:
    assert from_json(Record, json.loads(json.dumps(dataclasses.asdict(FULL))), where="x") == FULL


def test_whole_numbers_are_accepted_for_floats_and_defaults_are_filled_in() -> None:
    record = from_json(Record, {"name": "a", "value": 1, "best": {"layer": 0}}, where="x")
    assert record == Record("a", 1.0, Head(0)) and type(record.value) is float


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": 1}, "r.json: name: expected str, found 1"),
        ({"value": True}, "r.json: value: expected float, found True"),
        ({"best": [0]}, r"r.json: best: expected an object, found \[0\]"),
        ({"best": {}}, "r.json: best: without layer"),
        ({"best": {"layer": 0, "head": "1"}}, "r.json: best: head: expected int"),
        ({"best": {"layer": 0, "_target_": "os.system"}}, "r.json: best: names code to run"),
        ({"colour": "green"}, "r.json: colour: found 'green'; allowed: red, blue"),
        ({"others": {}}, "r.json: others: expected list"),
        ({"shape": [1, "2"]}, "r.json: shape: expected int"),
        ({"by_name": {"x": {"layer": None}}}, "r.json: by_name.x: layer: expected int"),
    ],
)
def test_values_of_another_type_are_refused(changes: dict[str, Any], says: str) -> None:
    content = json.loads(json.dumps(dataclasses.asdict(FULL))) | changes
    with pytest.raises(UserError, match=says):
        from_json(Record, content, where="r.json")


def test_unknown_keys_are_ignored_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="r.json: ignoring unknown keys size"):
        assert from_json(Head, {"layer": 1, "size": 2}, where="r.json") == Head(1)


def test_numbers_that_json_lacks_become_null() -> None:
    assert finite({"a": [math.nan, 1.0, (math.inf,)]}) == {"a": [None, 1.0, [None]]}
