"""The state of each job on disk, and what a sweep varied."""

from __future__ import annotations

from pathlib import Path

from probes.sweeps.jobs import read_sweep, swept_keys
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
