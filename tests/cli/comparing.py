"""What ``headprobes compare`` says."""

from __future__ import annotations

import pytest

from probes.cli.commands import run_command


def answer(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What it prints; nothing on standard error."""
    assert run_command(["compare", *map(str, arguments)]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


def mistake(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Its one message to what cannot be compared."""
    assert run_command(["compare", *map(str, arguments)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error: ") and said.err.count("\n") == 1
    return said.err
