"""Targets outside the package: every way to write one, and every mistake."""

from __future__ import annotations

import pickle
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from probes.core.errors import UserError
from probes.core.targets import load_target

SOURCE = """
from dataclasses import dataclass

COUNT = 3
executed = []

@dataclass(frozen=True)
class Thing:
    size: int

def make_thing(size):
    return Thing(size)

def _hidden():
    pass
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


@pytest.mark.parametrize("text", ["fractions:Fraction", "fractions.Fraction"])
def test_a_name_in_an_importable_module(text: str) -> None:
    assert load_target(text) is Fraction


def test_a_name_in_a_file_and_its_classes_pickle(file: Path) -> None:
    thing = load_target(f"{file}:make_thing")(4)
    assert thing.size == 4
    assert pickle.loads(pickle.dumps(thing)) == thing


def test_a_file_is_executed_once(file: Path) -> None:
    first = load_target(f"{file}:Thing")
    file.write_text("raise ValueError")
    assert load_target(f"{file}:Thing") is first


def test_a_file_relative_to_the_working_directory_or_the_home(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    monkeypatch.setenv("HOME", str(file.parent))
    absolute = load_target(f"{file}:Thing")
    assert load_target("mine.py:Thing") is absolute
    assert load_target("~/mine.py:Thing") is absolute


def test_files_of_one_name_are_two_modules_and_hide_no_library(tmp_path: Path) -> None:
    targets = []
    for number in (1, 2):
        path = tmp_path / str(number) / "json.py"
        path.parent.mkdir()
        path.write_text(f"def number(): return {number}")
        targets.append(load_target(f"{path}:number"))
    assert [target() for target in targets] == [1, 2]
    assert not sys.modules["json"].__file__.startswith(str(tmp_path))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text", ["", "name", "mine.py", ":name", "package.module:", "a.b:c d", "package."]
)
def test_a_text_that_names_nothing(text: str) -> None:
    with pytest.raises(UserError, match="names nothing to load") as error:
        load_target(text, key="corpus._target_")
    assert "FILE.py:NAME" in str(error.value) or "mine.py:NAME" in error.value.fix


def test_no_such_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"corpus\._target_=no\.py:load: no such file") as error:
        load_target("no.py:load", key="corpus._target_")
    assert str(tmp_path) in error.value.wrong


@pytest.mark.parametrize("text", ["no_such_package.part:load", "json.no_such_part:load"])
def test_no_such_module(text: str) -> None:
    missing = text.split(":")[0] if text.startswith("json") else "no_such_package"
    with pytest.raises(UserError, match=f"no module named '{missing}'") as error:
        load_target(text)
    assert error.value.fix == "_target_=path/to/FILE.py:load"


def test_no_such_name_offers_what_there_is(file: Path) -> None:
    with pytest.raises(UserError, match="defines no 'make_thin'") as error:
        load_target(f"{file}:make_thin")
    assert error.value.allowed == "Thing, make_thing"
    assert error.value.fix.endswith("mine.py:make_thing")


def test_a_name_that_cannot_be_called(file: Path) -> None:
    with pytest.raises(UserError, match="'COUNT' cannot be called: it is of type int"):
        load_target(f"{file}:COUNT")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\nimport no_such_library", "line 2 raised ModuleNotFoundError: No module named"),
        ("def f(:\n", "line 1 raised SyntaxError"),
        ("\n\nraise SystemExit(3)", "line 3 raised SystemExit: 3"),
    ],
)
def test_an_error_inside_the_file_names_the_line(tmp_path: Path, source: str, message: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(source)
    with pytest.raises(UserError, match=message):
        load_target(f"{path}:f")
    path.write_text("def f(): return 'mended'")
    assert load_target(f"{path}:f")() == "mended"


def test_an_error_inside_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_more.py").write_text("import no_such_library")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match="importing needs_more raised ModuleNotFoundError"):
        load_target("needs_more:f")
