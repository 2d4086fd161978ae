from __future__ import annotations

import csv
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from probes.config import LoggerConfig
from probes.core.errors import UserError
from probes.reporting.drawing.maps import save_map
from probes.reporting.loggers import heads_table, make_logger, run_metrics, wandb_mode
from probes.reporting.page.report import write_report
from probes.reporting.reachable import reachable
from probes.results.feature_table import FeatureTable
from probes.results.record import write_record
from probes.results.table import write_results
from tests.reporting.synthetic import heads_of, make_record, make_results
from tests.reporting.wandb_files import read_back

STREAMS = {"encoder": heads_of(3, 4)}
TABLE, RECORD = make_results(STREAMS), make_record(STREAMS)
CONFIG = {"probe": {"name": "linear", "l2": [1.0, 10.0]}, "seed": 3}


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A finished run directory, but for the probes, which are any two files here."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    write_results(TABLE, run_dir / "results.csv")
    write_record(RECORD, run_dir / "run.json")
    save_map(TABLE, "upos", run_dir / "maps", record=RECORD)
    write_report(TABLE, RECORD, run_dir / "report.html")
    for name in ("probes.safetensors", "probes.json"):
        (run_dir / name).write_text(name)
    return run_dir


@pytest.fixture
def clean_wandb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Nobody is logged in, and nothing is left in the home directory or in the process."""
    import wandb  # first: some versions leave a variable when they are imported

    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    before = dict(os.environ)
    yield
    after = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    before.pop("PYTEST_CURRENT_TEST", None)
    # W&B's own service process announces itself; nothing of ours may be there.
    assert {k for k in after if k not in before} <= {"WANDB_SERVICE", "WANDB_SERVICE_TRANSPORT"}
    assert wandb.run is None


def test_none_logs_nothing(run_dir: Path) -> None:
    before = sorted(run_dir.rglob("*"))
    with make_logger(LoggerConfig(), run_dir, CONFIG) as logger:
        assert not logger.lightning
        logger.log_run(TABLE, RECORD)
    assert sorted(run_dir.rglob("*")) == before


def test_csv_has_the_summary(run_dir: Path) -> None:
    with make_logger(LoggerConfig(name="csv"), run_dir, CONFIG) as logger:
        assert len(logger.lightning) == 1
        logger.log_run(TABLE, RECORD)
    with (run_dir / "csv" / "metrics.csv").open() as file:
        [row] = list(csv.DictReader(file))
    best = FeatureTable.of(TABLE, "upos").top(1).iloc[0]
    assert float(row["upos/best_head_accuracy"]) == pytest.approx(best["test"])
    assert (run_dir / "csv" / "hparams.yaml").is_file()


def test_csv_has_the_curve_of_a_training(run_dir: Path) -> None:
    curve = [{"step": 0.0, "accuracy": 0.1}, {"step": 50.0, "accuracy": 0.9}]
    with make_logger(LoggerConfig(name="csv"), run_dir, CONFIG) as logger:
        logger.log_curve(curve)
    with (run_dir / "csv" / "metrics.csv").open() as file:
        rows = [(row["step"], row["training/accuracy"]) for row in csv.DictReader(file)]
    assert rows == [("0", "0.1"), ("50", "0.9")]


def test_tensorboard_has_the_summary_and_the_map(run_dir: Path) -> None:
    pytest.importorskip("tensorboard")
    with make_logger(LoggerConfig(name="tensorboard"), run_dir, CONFIG) as logger:
        logger.log_run(TABLE, RECORD)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run_dir / "tensorboard")).Reload()
    assert "upos/best_head_accuracy" in events.Tags()["scalars"]
    assert events.Tags()["images"] == ["maps/upos"]


def test_summary_numbers() -> None:
    metrics, best = run_metrics(TABLE, RECORD), FeatureTable.of(TABLE, "upos").top(1).iloc[0]
    assert metrics["upos/best_layer"] == best["layer"]
    assert metrics["upos/best_head"] == best["head"]
    assert {"upos/majority_accuracy", "upos/residual_stream_accuracy",
            "time/fit_seconds"} <= set(metrics)  # fmt: skip
    assert all(isinstance(value, float) for value in metrics.values())


def test_head_table_has_a_row_for_each_head() -> None:
    heads = heads_table(make_results({"d": [2, 1, 3]}, features=("a", "b")))
    assert len(heads) == 12
    assert heads[["feature", "layer", "head"]].drop_duplicates().shape[0] == 12
    row = heads[(heads["feature"] == "b") & (heads["layer"] == 2)].iloc[2]
    table = make_results({"d": [2, 1, 3]}, features=("a", "b"))
    rows = table[(table["feature"] == "b") & (table["layer"] == 2) & (table["head"] == 2)]
    rows = rows[rows["probe"] == "linear"].set_index(["split", "metric"])
    assert row["validation_accuracy"] == rows.loc[("validation", "accuracy"), "value"]
    assert row["selectivity"] == rows.loc[("test", "selectivity"), "value"]
    assert row["q_value"] == rows.loc[("test", "accuracy"), "q_value"]


@pytest.mark.usefixtures("clean_wandb")
def test_offline_wandb_run_reads_back(run_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = LoggerConfig(name="wandb", project="maps", group="mine", tags=["a", "b"])
    with make_logger(config, run_dir, CONFIG) as logger:
        logger.lightning[0].log_metrics({"train/loss": 0.25}, step=1)
        logger.log_curve([{"step": 50.0, "accuracy": 0.9}])
        logger.log_run(TABLE, RECORD)
    assert capfd.readouterr() == ("", "")
    found = read_back(run_dir)
    assert (found["project"], found["group"], found["tags"]) == ("maps", "mine", ["a", "b"])
    assert found["exit"] == 0
    assert found["config"]["probe"] == CONFIG["probe"] and found["config"]["seed"] == 3
    best = FeatureTable.of(TABLE, "upos").top(1).iloc[0]
    assert found["summary"]["upos/best_head_accuracy"] == pytest.approx(best["test"])
    assert found["history"]["train/loss"] == 0.25
    assert found["history"]["training/accuracy"] == 0.9
    logged = found["history"]
    heads = json.loads((found["files"] / logged["heads"]["path"]).read_text())
    assert len(heads["data"]) == 12
    assert {"layer", "head", "accuracy", "q_value"} <= set(heads["columns"])
    assert (found["files"] / logged["maps/upos"]["path"]).read_bytes() == (
        run_dir / "maps" / "upos.png"
    ).read_bytes()
    assert (found["files"] / logged["report"]["path"]).read_text() == (
        run_dir / "report.html"
    ).read_text()
    name, files = found["artifacts"]["probes"]
    assert name == f"probes-{found['id']}"
    assert set(files) == {"probes.safetensors", "probes.json", "results.csv", "run.json"}


@pytest.mark.usefixtures("clean_wandb")
def test_jobs_in_one_process_get_runs_of_their_own_and_share_a_group(tmp_path: Path) -> None:
    jobs = [tmp_path / "sweeps" / "2026-11-20" / "10-00-00" / str(n) for n in range(2)]
    for number, job in enumerate(jobs):
        (job / ".hydra").mkdir(parents=True)
        (job / ".hydra" / "hydra.yaml").write_text("hydra:\n  mode: MULTIRUN\n")
        with make_logger(LoggerConfig(name="wandb"), job, {"number": number}) as logger:
            logger.log_run(TABLE, RECORD)
    found = [read_back(job) for job in jobs]
    assert [one["config"]["number"] for one in found] == [0, 1]
    assert found[0]["id"] != found[1]["id"]
    assert {one["group"] for one in found} == {"sweep 2026-11-20 10-00-00"}


@pytest.mark.usefixtures("clean_wandb")
def test_a_failing_run_is_finished_as_failed(run_dir: Path) -> None:
    with pytest.raises(RuntimeError), make_logger(LoggerConfig(name="wandb"), run_dir, CONFIG):
        raise RuntimeError("out of memory")
    assert read_back(run_dir)["exit"] == 1


@pytest.mark.usefixtures("clean_wandb")
def test_auto_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wandb_mode("auto") == "offline"
    assert wandb_mode("online") == "online"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert wandb_mode("auto") == "disabled"
    monkeypatch.setenv("WANDB_MODE", "dryrun")
    assert wandb_mode("auto") == "offline"
    monkeypatch.delenv("WANDB_MODE")
    import wandb

    monkeypatch.setattr(wandb, "login", lambda **_: True)
    monkeypatch.setattr("probes.reporting.loggers.reachable", lambda url: True)
    assert wandb_mode("auto") == "online"


@pytest.mark.usefixtures("clean_wandb")
@pytest.mark.parametrize(("key", "mode"), [(None, "offline"), ("secret", "online")])
def test_a_wandb_whose_login_always_asks_is_not_logged_in(
    monkeypatch: pytest.MonkeyPatch, key: str | None, mode: str
) -> None:
    import wandb

    def login(verify: bool = False) -> bool:
        raise AssertionError("it would ask for a key")

    monkeypatch.setattr(wandb, "login", login)
    monkeypatch.setattr(wandb, "api", SimpleNamespace(api_key=key))
    monkeypatch.setattr("probes.reporting.loggers.reachable", lambda url: True)
    assert wandb_mode("auto") == mode


@pytest.mark.usefixtures("clean_wandb")
def test_a_server_that_cannot_be_reached_ends_offline_soon(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import wandb

    monkeypatch.setattr(wandb, "login", lambda **_: True)
    monkeypatch.setattr(logging.getLogger("probes"), "propagate", True)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)

    def refused(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("socket.create_connection", refused)
    began = time.monotonic()
    assert wandb_mode("auto") == "offline"
    assert [record.getMessage() for record in caplog.records if "reached" in record.getMessage()]
    monkeypatch.setattr("socket.create_connection", lambda *_, **__: time.sleep(30))
    assert not reachable("https://api.wandb.ai", timeout=0.2), "a resolver that hangs"
    assert time.monotonic() - began < 10


def test_a_server_that_listens_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert reachable(url)
        monkeypatch.delenv("no_proxy")
        monkeypatch.setenv("https_proxy", url)
        assert reachable("https://nowhere.invalid"), "through the proxy"


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"logger.name=wandbb.*Try logger=wandb"):
        make_logger(LoggerConfig(name="wandbb"), tmp_path, {})
    with pytest.raises(UserError, match=r"logger.mode=ofline.*Try logger.mode=offline"):
        make_logger(LoggerConfig(name="wandb", mode="ofline"), tmp_path, {})
