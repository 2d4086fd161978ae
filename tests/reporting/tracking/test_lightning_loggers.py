"""CSV files and TensorBoard events of a run."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

import pytest

from probes.config import LoggerConfig
from probes.core.errors import UserError
from probes.reporting.tracking.make_logger import make_logger
from probes.results.feature_table import FeatureTable
from tests.reporting.tracking.conftest import RECORD, TABLE, described


def test_none_logs_nothing(run_dir: Path) -> None:
    before = sorted(run_dir.rglob("*"))
    with make_logger(LoggerConfig(), described(run_dir)) as logger:
        assert not logger.lightning
        logger.log_run(TABLE, RECORD)
    assert sorted(run_dir.rglob("*")) == before


def test_csv_has_the_summary(run_dir: Path) -> None:
    with make_logger(LoggerConfig(name="csv"), described(run_dir)) as logger:
        assert len(logger.lightning) == 1
        logger.log_run(TABLE, RECORD)
    with (run_dir / "csv" / "metrics.csv").open() as file:
        [row] = list(csv.DictReader(file))
    best = FeatureTable.of(TABLE, "upos").top(1).iloc[0]
    assert float(row["upos/test_accuracy"]) == pytest.approx(best["test"])
    assert float(row["upos/validation_accuracy"]) == pytest.approx(best["validation"])
    assert (run_dir / "csv" / "hparams.yaml").is_file()


def test_csv_has_the_curve_of_a_training(run_dir: Path) -> None:
    curve = [{"step": 0.0, "accuracy": 0.1}, {"step": 50.0, "accuracy": 0.9}]
    with make_logger(LoggerConfig(name="csv"), described(run_dir)) as logger:
        logger.log_curve(curve)
    with (run_dir / "csv" / "metrics.csv").open() as file:
        rows = [(row["step"], row["training/accuracy"]) for row in csv.DictReader(file)]
    assert rows == [("0", "0.1"), ("50", "0.9")]


def test_tensorboard_has_the_summary_and_the_map(run_dir: Path) -> None:
    pytest.importorskip("tensorboard")
    with make_logger(LoggerConfig(name="tensorboard"), described(run_dir)) as logger:
        logger.log_run(TABLE, RECORD)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run_dir / "tensorboard")).Reload()
    assert "upos/test_accuracy" in events.Tags()["scalars"]
    assert events.Tags()["images"] == ["maps/upos"]


@pytest.mark.parametrize("name", ["csv", "tensorboard"])
def test_a_full_disk_costs_no_results(
    run_dir: Path, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("tensorboard")
    monkeypatch.setattr(logging.getLogger("probes"), "propagate", True)
    logger = make_logger(LoggerConfig(name=name), described(run_dir))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(logger.lightning[0], "log_metrics", full)
    monkeypatch.setattr(logger.lightning[0], "finalize", full)
    with logger:
        logger.log_run(TABLE, RECORD)
    # A record counts once, however many handlers other tests have left that capture it.
    records = {id(one): one.getMessage() for one in caplog.records}
    [told] = [words for words in records.values() if "failed" in words]
    assert f"logger={name}" in told and "No space left" in told


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"logger=wandbb.*Try logger=wandb"):
        make_logger(LoggerConfig(name="wandbb"), described(tmp_path))
    with pytest.raises(UserError, match=r"logger.mode=ofline.*Try logger.mode=offline"):
        make_logger(LoggerConfig(name="wandb", mode="ofline"), described(tmp_path))
