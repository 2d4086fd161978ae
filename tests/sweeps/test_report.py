"""Writing the report of a sweep, and what it says of its jobs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from probes.core.errors import UserError
from probes.sweeps.report import write_sweep_report


def test_files_are_written_and_readable(sweep: Path) -> None:
    report = write_sweep_report(sweep)
    assert [job.name for job in report.without_results] == ["2", "3", "4"]
    assert report.exit_status == 2 and report.page == sweep / "sweep.html"
    table = pd.read_csv(sweep / "sweep.csv", low_memory=False)
    assert set(table["status"]) == {"finished", "failed", "unfinished"}
    text = (sweep / "sweep.html").read_text()
    assert "In the maps below" in text
    assert "<img" not in text and "6 jobs, 3 of them without results" in text
    assert not list(sweep.glob("*.new"))


def test_an_empty_sweep_is_a_page_too(tmp_path: Path) -> None:
    report = write_sweep_report(tmp_path)
    assert report.jobs == [] and report.exit_status == 0
    assert "0 jobs" in (tmp_path / "sweep.html").read_text()


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such directory"):
        write_sweep_report(tmp_path / "none")
