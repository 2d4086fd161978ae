"""The same sweep given twice at the same time: two commands share its jobs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from probes.core.claims import TRY_LATER
from tests.pipeline.conftest import Small


@pytest.mark.slow
def test_two_commands_share_the_jobs_of_a_sweep(small: Small, tmp_path: Path) -> None:
    command = ["-m", *small.overrides, f"hydra.sweep.dir={tmp_path / 'sweep'}",
               f"cache_dir={tmp_path / 'cache'}", "seed=1,2,3"]  # fmt: skip
    both = [small.commands.start(*command) for _ in range(2)]
    statuses = [one.wait() for one in both]
    texts = [one.text for one in both]
    assert set(statuses) <= {0, TRY_LATER} and 0 in statuses, texts
    for text in texts:
        assert "Traceback" not in text and "failed" not in text, text
    runs = sorted((tmp_path / "sweep").glob("*/run.json"))
    written = [run.stat().st_mtime_ns for run in runs]
    assert len(runs) == 3 and not list((tmp_path / "sweep").glob("*/.lock"))
    # Together they have run each job once; what both have met was left to the other.
    logs = [path.read_text() for path in (tmp_path / "sweep").glob("*/*.log")]
    assert sum(text.count("report: ") for text in logs) == 3, logs
    table = pd.read_csv(tmp_path / "sweep" / "sweep.csv", dtype=str)
    assert set(table["status"]) == {"finished"}
    again = small.commands.run(*command)
    assert "3 of 3 jobs finished" in again.text
    assert [run.stat().st_mtime_ns for run in runs] == written
