"""The state of each job on disk, and what a sweep varied."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from probes.reporting.tracking.wandb_sync import sweep_sync_command
from probes.sweeps.jobs import job_directories, read_sweep, swept_keys
from tests.sweeps.written import HOSTILE


def test_jobs_and_their_states(sweep: Path) -> None:
    jobs = read_sweep(sweep)
    assert [(job.name, job.status) for job in jobs] == [
        ("0", "finished"), ("1", "finished"), ("2", "failed"), ("3", "unfinished"),
        ("4", "failed"), ("10", "finished"),
    ]  # fmt: skip
    assert jobs[2].error == f"no {HOSTILE}"
    assert "results.csv was refused: it has 14 bytes" in str(jobs[4].error)


def test_swept_keys_are_those_that_differ(sweep: Path) -> None:
    jobs = read_sweep(sweep)
    assert swept_keys(jobs) == ["probe", "features"]
    assert swept_keys(jobs[:1]) == ["probe", "features", "logger"]


def test_half_written_overrides_do_not_stop_the_sweep(sweep: Path) -> None:
    (sweep / "3" / ".hydra" / "overrides.yaml").write_text("- a: [")
    (sweep / "2" / "error.json").write_text("{")
    jobs = read_sweep(sweep)
    assert jobs[3].overrides == {}
    assert jobs[2].error == "failed; its error could not be read"


EXTRACTING = """
import pathlib, shutil, sys
while True:
    for directory in map(pathlib.Path, sys.argv[1:]):
        (directory / ".hydra" / "deep" / "deeper").mkdir(parents=True)
        (directory / ".hydra" / "overrides.yaml").write_text("[until=extraction]")
        shutil.rmtree(directory)
"""


@pytest.fixture
def another_command(sweep: Path) -> Iterator[None]:
    """Directories of extractions come and go."""
    names = [str(sweep / f"extraction-{number}") for number in range(3)]
    process = subprocess.Popen([sys.executable, "-c", EXTRACTING, *names])
    yield
    process.kill()
    assert process.wait() < 0, "it has ended by itself"


@pytest.mark.usefixtures("another_command")
def test_what_another_command_removes_meanwhile_does_not_stop_a_reader(sweep: Path) -> None:
    while not list(sweep.glob("extraction-*")):
        pass
    for _ in range(60):
        names = {path.name for path in job_directories(sweep)}
        assert names - {f"extraction-{number}" for number in range(3)} == set("01234") | {"10"}
        assert sweep_sync_command(sweep) is None
