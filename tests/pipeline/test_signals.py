"""SIGTERM and SIGINT in a fit end a run as they end every phase: message, error.json, status."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.pipeline.conftest import Small, results_of

STATUS = {signal.SIGTERM: 143, signal.SIGINT: 130}
SAID = {signal.SIGTERM: "ended by SIGTERM", signal.SIGINT: "interrupted (SIGINT)"}
SLOW = {
    "linear": ["significance.permutations=1000"],
    "mlp": ["probe=mlp", "probe.epochs=1000", "probe.patience=1000", "corpus.sentences=120"],
}
"""A busy machine may be late to look for the first part: fits go on for many seconds after it."""


@pytest.mark.parametrize("probe", SLOW)
@pytest.mark.parametrize("sent", STATUS)
def test_a_signal_in_a_fit_ends_the_run(
    small: Small, tmp_path: Path, probe: str, sent: signal.Signals
) -> None:
    command = small.start(tmp_path / "run", *SLOW[probe])
    command.wait_for(tmp_path, "run/parts/*.part")
    os.kill(command.pid, sent)
    assert command.wait() == STATUS[sent], command.text
    assert "Interrupted. The same command resumes" in command.text
    assert "Traceback" not in command.text
    error = json.loads((tmp_path / "run" / "error.json").read_text())
    assert error["error"] == SAID[sent]
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_signal_in_a_fit_ends_the_sweep_with_its_report(
    small: Small, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    sweep = tmp_path / "sweep"
    jobs = [f"hydra.sweep.dir={sweep}", "significance.permutations=0,200,300"]
    command = small.commands.start("-m", *small.overrides, *jobs)
    command.wait_for(sweep, "1/parts/*.part")
    os.kill(command.pid, signal.SIGTERM)
    assert command.wait() == STATUS[signal.SIGTERM], command.text
    assert results_of(sweep / "0") == undisturbed
    assert json.loads((sweep / "1" / "error.json").read_text())
    assert not (sweep / "2").exists(), "the jobs after it are not begun"
    report = (sweep / "sweep.csv").read_text()
    assert report.count("\n") >= 2 and (sweep / "sweep.html").exists()
