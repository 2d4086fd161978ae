"""What Hydra calls at the end of jobs and multiruns."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from probes.sweeps.hydra_callback import SweepCallback, sweep_reports


def test_callback_reports_the_sweep(sweep: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(sweep)}}})
    with caplog.at_level(logging.INFO, logger="probes"), sweep_reports() as reports:
        SweepCallback().on_multirun_end(config)
    assert (sweep / "sweep.csv").is_file() and (sweep / "sweep.html").is_file()
    assert "3 of 6 jobs finished" in caplog.text
    assert "without results: 2 (failed), 3 (unfinished), 4 (failed)" in caplog.text
    assert [report.exit_status for report in reports] == [2]


def test_callback_leaves_the_error_of_a_job_that_raised(tmp_path: Path) -> None:
    failed = JobReturn(status=JobStatus.FAILED, working_dir=str(tmp_path))
    failed.return_value = ValueError("out of memory")
    SweepCallback().on_job_end(OmegaConf.create(), failed)
    content = json.loads((tmp_path / "error.json").read_text())
    assert content == {"kind": "ValueError", "error": "out of memory"}
    failed.return_value = ValueError("later")
    SweepCallback().on_job_end(OmegaConf.create(), failed)
    assert json.loads((tmp_path / "error.json").read_text()) == content


def test_callback_leaves_good_jobs_alone(tmp_path: Path) -> None:
    done = JobReturn(status=JobStatus.COMPLETED, working_dir=str(tmp_path))
    SweepCallback().on_job_end(OmegaConf.create(), done)
    assert not list(tmp_path.iterdir())


def test_a_command_imports_the_callback_without_heavy_libraries() -> None:
    code = (
        "import sys; import probes.sweeps.hydra_callback; "
        "print(sorted({'torch', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
