"""A stand-in for W&B in which any call can fail, whichever is wanted."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest


class Calls:
    """Counts calls of W&B and raises at one of them, or from it on."""

    def __init__(self, first: int, error: BaseException, *, for_good: bool) -> None:
        """first: number of the call that fails, from 0; -1: none."""
        self.first, self.error, self.for_good = first, error, for_good
        self.names: list[str] = []

    def note(self, name: str) -> None:
        """One more call."""
        self.names.append(name)
        number = len(self.names) - 1
        if number == self.first or (self.for_good and 0 <= self.first <= number):
            raise self.error


class Dictionary:
    """``run.config`` and ``run.summary``."""

    def __init__(self, name: str, calls: Calls) -> None:
        self.name, self.calls = name, calls

    def update(self, *_: object, **__: object) -> None:
        """Takes anything."""
        self.calls.note(f"{self.name}.update")


class FakeRun:
    """A run that takes what it is given, and forgets it."""

    url = "https://wandb.invalid/run"

    def __init__(self, calls: Calls, directory: Path, offline: bool) -> None:
        self.calls, self.offline = calls, offline
        self.config, self.summary = Dictionary("config", calls), Dictionary("summary", calls)
        self.sync_dir = directory

    @property
    def settings(self) -> Any:
        """Where the run is kept."""
        self.calls.note("settings")
        return self

    def __getattr__(self, name: str) -> Any:
        if name not in ("log", "log_artifact", "_log_artifact", "use_artifact", "finish"):
            raise AttributeError(name)
        return lambda *_, **__: self.calls.note(name)

    def define_metric(self, name: str, step_metric: str | None = None) -> None:
        """As a version would that knows few options."""
        self.calls.note("define_metric")


def install(monkeypatch: pytest.MonkeyPatch, calls: Calls, directory: Path) -> None:
    """Have ``wandb`` be the stand-in for the rest of a test."""
    import wandb

    def init(*, mode: str, **_: object) -> FakeRun:
        calls.note("init")
        return FakeRun(calls, directory, mode == "offline")

    def setup(**_: object) -> SimpleNamespace:
        calls.note("setup")
        return SimpleNamespace(settings=None)

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setattr(wandb, "setup", setup)
    # Not counted: W&B calls it by itself, at moments of its own.
    monkeypatch.setattr(wandb, "termsetup", lambda *_: None)
    monkeypatch.setattr(wandb, "teardown", lambda: calls.note("teardown"))
    for name in ("Artifact", "Table", "Image", "Html"):
        real = getattr(wandb, name)

        def make(*given: Any, called: str = name, real: Any = real, **named: Any) -> Any:
            calls.note(called)
            return real(*given, **named)

        monkeypatch.setattr(wandb, name, make)
