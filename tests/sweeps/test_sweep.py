from __future__ import annotations

import json
import logging
from pathlib import Path

import pandas as pd
import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from probes.results.record import write_record
from probes.results.table import write_results
from probes.sweeps.hydra_callback import SweepReport
from probes.sweeps.sweep import read_sweep, sweep_table, swept_keys, write_sweep
from tests.reporting.chromium import opened
from tests.reporting.synthetic import heads_of, make_record, make_results

HOSTILE = "</script><img src=x onerror=alert(1)>"
STREAMS = {"encoder": heads_of(3, 4)}


def add_job(sweep: Path, number: int, overrides: list[str]) -> Path:
    job = sweep / str(number)
    (job / ".hydra").mkdir(parents=True)
    (job / ".hydra" / "overrides.yaml").write_text(json.dumps(overrides))
    return job


def finish(job: Path, feature: str, probe: str) -> None:
    write_results(make_results(STREAMS, features=(feature,), probe=probe), job / "results.csv")
    write_record(make_record(STREAMS, features=(feature,)), job / "run.json")


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Jobs 0, 1, 10 finished; 2 failed; 3 never wrote anything; 4 is damaged."""
    sweep = tmp_path / "2026-11-20" / "10-00-00"
    for number, feature, probe in ((0, "upos", "linear"), (1, "upos", "mlp"), (10, "tense", "mlp")):
        finish(
            add_job(sweep, number, [f"probe={probe}", f"features=[{feature}]", "logger=wandb"]),
            feature,
            probe,
        )
    failed = add_job(sweep, 2, ["probe=linear", f"features=[{HOSTILE}]", "logger=wandb"])
    (failed / "error.json").write_text(json.dumps({"error": f"no {HOSTILE}", "kind": "UserError"}))
    add_job(sweep, 3, ["probe=linear", "features=[tense]", "logger=wandb"])
    damaged = add_job(sweep, 4, ["probe=mlp", "features=[tense]", "logger=wandb"])
    finish(damaged, "tense", "mlp")
    (damaged / "results.csv").write_text("feature,value\n")
    return sweep


def test_jobs_and_their_states(sweep: Path) -> None:
    jobs = read_sweep(sweep)
    assert [(job.name, job.status) for job in jobs] == [
        ("0", "finished"), ("1", "finished"), ("2", "failed"), ("3", "unfinished"),
        ("4", "failed"), ("10", "finished"),
    ]  # fmt: skip
    assert jobs[2].error == f"no {HOSTILE}"
    assert "results.csv: not a table" in str(jobs[4].error)


def test_swept_keys_are_those_that_differ(sweep: Path) -> None:
    assert swept_keys(read_sweep(sweep)) == ["probe", "features"]


def test_table_has_all_results_with_the_swept_keys(sweep: Path) -> None:
    table = sweep_table(read_sweep(sweep))
    assert table.groupby("job").size().loc[["2", "3", "4"]].tolist() == [1, 1, 1]
    own = make_results(STREAMS, features=("upos",), probe="mlp")
    part = table[table["job"] == "1"]
    assert len(part) == len(own)
    assert set(part["features"]) == {"[upos]"} and set(part["override.probe"]) == {"mlp"}
    pd.testing.assert_series_equal(
        part["value"].astype(float).reset_index(drop=True), own["value"], rtol=1e-7
    )
    assert table.loc[table["job"] == "2", "error"].item() == f"no {HOSTILE}"


def test_files_are_written_and_readable(sweep: Path) -> None:
    write_sweep(sweep)
    table = pd.read_csv(sweep / "sweep.csv", low_memory=False)
    assert set(table["status"]) == {"finished", "failed", "unfinished"}
    text = (sweep / "sweep.html").read_text()
    assert "In the maps below" in text
    assert "<img" not in text and "6 jobs, 3 of them without results" in text
    assert not list(sweep.glob("*.tmp"))


def test_chromium_draws_the_small_multiples(sweep: Path) -> None:
    write_sweep(sweep)
    dom = opened(sweep / "sweep.html")
    assert "data-error" not in dom and "<img" not in dom
    assert dom.count('data-rendered="small"') == 3


def test_maps_of_a_feature_share_their_scale(tmp_path: Path) -> None:
    for number, signal in enumerate((0.1, 0.4)):
        job = add_job(tmp_path, number, [f"seed={number}"])
        write_results(make_results(STREAMS, signal=signal), job / "results.csv")
        write_record(make_record(STREAMS), job / "run.json")
    write_sweep(tmp_path)
    text = (tmp_path / "sweep.html").read_text()
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    first, second = (feature["quantities"][0]["best"] for feature in data["features"])
    assert first == second


def test_an_empty_sweep_is_a_page_too(tmp_path: Path) -> None:
    assert write_sweep(tmp_path) == []
    assert "0 jobs" in (tmp_path / "sweep.html").read_text()


def test_half_written_overrides_do_not_stop_the_sweep(sweep: Path) -> None:
    (sweep / "3" / ".hydra" / "overrides.yaml").write_text("- a: [")
    (sweep / "2" / "error.json").write_text("{")
    jobs = read_sweep(sweep)
    assert jobs[3].overrides == {}
    assert jobs[2].error == "failed; its error could not be read"


def test_callback_reports_the_sweep(sweep: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(sweep)}}})
    with caplog.at_level(logging.INFO, logger="probes"):
        SweepReport().on_multirun_end(config)
    assert (sweep / "sweep.csv").is_file() and (sweep / "sweep.html").is_file()
    assert "3 of 6 jobs finished" in caplog.text
    assert "job 3 unfinished: no results" in caplog.text


def test_callback_leaves_the_error_of_a_job_that_raised(tmp_path: Path) -> None:
    failed = JobReturn(status=JobStatus.FAILED, working_dir=str(tmp_path))
    failed.return_value = ValueError("out of memory")
    SweepReport().on_job_end(OmegaConf.create(), failed)
    content = json.loads((tmp_path / "error.json").read_text())
    assert content == {"kind": "ValueError", "error": "out of memory"}
    failed.return_value = ValueError("later")
    SweepReport().on_job_end(OmegaConf.create(), failed)
    assert json.loads((tmp_path / "error.json").read_text()) == content


def test_callback_leaves_good_jobs_alone(tmp_path: Path) -> None:
    done = JobReturn(status=JobStatus.COMPLETED, working_dir=str(tmp_path))
    SweepReport().on_job_end(OmegaConf.create(), done)
    assert not list(tmp_path.iterdir())
