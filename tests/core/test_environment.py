from __future__ import annotations

import pytest

from probes.core.environment import environment, text_without_home, without_home


def test_environment_names_no_path() -> None:
    values = environment("cpu")
    assert values["torch"] != "not installed"
    assert not any("/" in value for value in values.values())


def test_the_home_directory_is_written_as_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me/")
    content = {"a": "/home/me", "b": ["/home/me/x", "/home/merry", 1], "c": ("in /home/me/",)}
    assert without_home(content) == {
        "a": "~",
        "b": ["~/x", "/home/merry", 1],
        "c": ["in /home/me/"],
    }


@pytest.mark.parametrize(
    ("home", "text", "expected"),
    [
        ("/home/me", "path: /home/me/data\nother: /home/me\n", "path: ~/data\nother: ~\n"),
        ("/home/me", "- cache_dir=/home/me/c\n- [/home/me,'/home/me']", None),
        ("/home/me", "cache_dir: /home/me2/cache", "cache_dir: /home/me2/cache"),
        ("/lab", "cache_dir: /x/lab/y", "cache_dir: /x/lab/y"),
        ("/lab", "cache_dir: /lab-2/y, /lab.old", "cache_dir: /lab-2/y, /lab.old"),
        ("/", "cache_dir: /x", "cache_dir: /x"),
    ],
)
def test_the_home_directory_is_replaced_by_path(
    monkeypatch: pytest.MonkeyPatch, home: str, text: str, expected: str | None
) -> None:
    monkeypatch.setenv("HOME", home)
    assert text_without_home(text) == (text.replace(home, "~") if expected is None else expected)
