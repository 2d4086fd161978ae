"""Ctrl+C before a run has begun."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path


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
