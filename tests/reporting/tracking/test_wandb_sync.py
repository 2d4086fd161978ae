"""The commands that send what was kept."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from probes.reporting.tracking.wandb_sync import sweep_sync_command


@pytest.mark.parametrize("name", ["night", 'it\'s a "$HOME" [x] *', "日本"])
def test_the_command_of_a_sweep_names_each_run_that_was_not_sent(tmp_path: Path, name: str) -> None:
    kept = {tmp_path / name / job / "wandb" / f"offline-run-{n}"
            for n, job in enumerate(("0", "1", "deep/a", "deep/b"))}  # fmt: skip
    sent = tmp_path / name / "gone" / "very" / "deep" / "wandb" / "offline-run-9"
    for run in (*kept, sent):
        run.mkdir(parents=True)
    (sent / "run-9.wandb.synced").touch()
    command = sweep_sync_command(tmp_path / name)
    assert command is not None and command.startswith("wandb sync ")
    listed = subprocess.run(["sh", "-c", command.replace("wandb sync", "ls -d", 1)],
                            capture_output=True, text=True, check=True)  # fmt: skip
    assert {Path(line) for line in listed.stdout.splitlines()} == kept
    assert sweep_sync_command(sent.parents[1]) is None
