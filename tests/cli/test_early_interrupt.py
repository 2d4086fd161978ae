"""Ctrl+C before a run has begun."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest


def test_an_interrupt_during_the_imports_is_one_line(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, types\n"
        "from probes.cli import main\n"
        "class Slow:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'probes.cli.commands': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Slow())\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert done.returncode == 130
    assert done.stderr == "\nInterrupted.\n"


@pytest.mark.parametrize("asked", [["--help"], ["--cfg", "job"], ["catalogue"]])
def test_a_reader_that_has_seen_enough_is_no_error(asked: list[str], tmp_path: Path) -> None:
    """As ``headprobes --help | head -1`` does."""
    code = "from probes.cli import main; main()"
    started = subprocess.Popen(
        [sys.executable, "-c", code, *asked],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert started.stdout is not None and started.stderr is not None
    started.stdout.close()
    said = started.stderr.read()
    started.wait()
    assert "Traceback" not in said and "Broken" not in said
