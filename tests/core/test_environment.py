from __future__ import annotations

import pytest

from probes.core.environment import environment, without_home


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
