"""Finished run directories of made-up results, and a W&B that nobody is logged in to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from probes.reporting.drawing.maps import save_map
from probes.reporting.page.report import write_report
from probes.reporting.tracking.description import RunDescription
from probes.results.record import write_record
from probes.results.table import write_results
from tests.reporting.synthetic import heads_of, make_record, make_results

STREAMS = {"encoder": heads_of(3, 4)}
TABLE, RECORD = make_results(STREAMS), make_record(STREAMS)
CONFIG: dict[str, Any] = {"probe": {"name": "linear", "l2": [1.0, 10.0]}, "seed": 3}


def described(directory: Path, **changes: Any) -> RunDescription:
    """A run in a directory, as the pipeline describes it."""
    known: dict[str, Any] = {
        "directory": directory,
        "config": CONFIG,
        "model": "gpt2",
        "corpus": "ud",
        "corpus_fingerprint": "c0ffee" * 10,
        "features": ("upos",),
        "methods": ("probe",),
        "probe": "linear",
        "site": "heads",
        "objective": "accuracy",
        "identity": "0123456789abcdef",
    }
    return RunDescription(**(known | changes))


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a finished run, but for the probes, which are any two files here."""
    run_dir = tmp_path_factory.mktemp("published") / "run"
    run_dir.mkdir()
    write_results(TABLE, run_dir / "results.csv")
    write_record(RECORD, run_dir / "run.json")
    save_map(TABLE, "upos", run_dir / "maps", record=RECORD)
    write_report(TABLE, RECORD, run_dir / "report.html")
    for name in ("probes.safetensors", "probes.json"):
        (run_dir / name).write_text(name)
    return run_dir


@pytest.fixture
def run_dir(published: Path, tmp_path: Path) -> Path:
    """A copy of them for one test."""
    return Path(shutil.copytree(published, tmp_path / "run"))


@pytest.fixture
def clean_wandb(tmp_path: Path) -> Iterator[None]:
    """Nobody is logged in, and nothing is left in the home directory or in the process."""
    import wandb  # first: some versions leave a variable when they are imported

    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        patch.setenv("HOME", str(tmp_path))
        patch.setenv("NETRC", str(tmp_path / "netrc"))
        before = {*os.environ, "PYTEST_CURRENT_TEST"}
        yield
        # W&B's own service process announces itself; nothing of ours may be there.
        assert os.environ.keys() - before <= {"WANDB_SERVICE", "WANDB_SERVICE_TRANSPORT"}
    assert wandb.run is None
