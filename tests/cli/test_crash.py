"""A process that the system kills for a map of a file that was cut says where it was."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path


def test_reading_a_map_beyond_the_end_of_its_file_tells_the_line(tmp_path: Path) -> None:
    code = (
        "import mmap, sys, types\n"
        "from probes.cli import main\n"
        "def run_command():\n"
        "    with open('cut', 'w+b') as file:\n"
        "        file.truncate(10 * mmap.PAGESIZE)\n"
        "        mapped = mmap.mmap(file.fileno(), 0)\n"
        "        file.truncate(0)\n"
        "    return mapped[0]\n"
        "sys.modules['probes.cli.commands'] = types.SimpleNamespace(run_command=run_command)\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGBUS
    assert "Bus error" in done.stderr and "line 8 in run_command" in done.stderr
