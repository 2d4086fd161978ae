"""Progress without a terminal is a line now and then; on one of 60 columns the bar fits."""

from __future__ import annotations

import logging
import os
import pty
import re
import subprocess
import sys

import pytest

from probes.core import shown_progress
from probes.core.shown_progress import ShownProgress


def test_without_a_terminal_a_line_comes_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, lines = [0.0], list[str]()
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr(shown_progress.log, "info", lambda text, *a: lines.append(text % a))
    with ShownProgress("fitting", 100) as shown:
        for chunk in range(100):
            clock[0] += 2.0
            shown.advance(1, line=f"{chunk + 1} of 100 chunks")
    assert len(lines) == 6, "200 seconds, a line every 30"
    assert lines[0] == "fitting: 15 of 100 chunks, about 3 min left"


def test_nothing_is_shown_where_it_is_switched_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shown_progress, "LINE_SECONDS", 0.0)
    monkeypatch.setattr(logging.getLogger("probes"), "propagate", True)
    with caplog.at_level(logging.INFO, logger="probes"), ShownProgress(None, 3) as shown:
        shown.advance(1)
    assert not caplog.records


def test_the_bar_fits_a_terminal_of_60_columns() -> None:
    code = (
        "from probes.core.shown_progress import ShownProgress\n"
        "with ShownProgress('extracting', 100) as shown:\n"
        "    for _ in range(99): shown.advance(1, note='1,234,567 tokens/s')\n"
        "    shown._bar.refresh()\n"
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "60", "TERM": "xterm"}
    subprocess.run([sys.executable, "-c", code], stderr=theirs, env=environment, check=True)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    lines = [line for line in re.split(r"[\r\n]+", text) if "extracting" in line]
    assert lines
    assert max(map(len, lines)) <= 60
    assert any("99%" in line and "tokens/s" in line for line in lines), "on one line"
