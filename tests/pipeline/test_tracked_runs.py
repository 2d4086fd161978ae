"""Runs with ``logger=wandb``: begun before any work, complete whatever happens to W&B."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from probes import load_run
from probes.config import (
    EvaluationConfig,
    GrammarConfig,
    LinearConfig,
    LoggerConfig,
    ModelConfig,
    RunConfig,
    TrainerConfig,
)
from probes.core.errors import UserError
from probes.core.overrides import quoted
from probes.pipeline.part_store import PartStore
from probes.pipeline.run import run
from probes.reporting.tracking.wandb_logger import WandbRunLogger
from probes.results.objective import objective_of
from tests.pipeline.conftest import Small, results_of
from tests.reporting.tracking.conftest import clean_wandb
from tests.reporting.tracking.test_wandb_failures import services
from tests.reporting.tracking.wandb_files import offline_logs, read_back, read_log

__all__ = ["clean_wandb"]
pytestmark = pytest.mark.usefixtures("clean_wandb")

WANDB = LoggerConfig(name="wandb")


@pytest.fixture(scope="module")
def untracked(llama_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """A run of seconds."""
    return RunConfig(
        model=ModelConfig(name=str(llama_directory)),
        corpus=GrammarConfig(sentences=60),
        probe=LinearConfig(l2=[10.0]),
        features=["upos"],
        min_count=5,
        evaluation=EvaluationConfig(bootstrap=20),
        trainer=TrainerConfig(progress=False),
        cache_dir=str(tmp_path_factory.mktemp("cache")),
    )


@pytest.fixture(scope="module")
def tracked(untracked: RunConfig) -> RunConfig:
    return dataclasses.replace(untracked, logger=WANDB)


@pytest.fixture(scope="module")
def results(untracked: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the run leaves that is logged nowhere."""
    run_dir = tmp_path_factory.mktemp("untracked")
    run(untracked, run_dir)
    return results_of(run_dir)


def test_what_becomes_known_is_in_the_config(
    tracked: RunConfig, results: dict[str, bytes], tmp_path: Path
) -> None:
    run(tracked, tmp_path)
    assert results_of(tmp_path) == results
    found, made = read_back(tmp_path), load_run(tmp_path)
    facts = found["config"]["run"]
    assert facts["model"]["fingerprint"] == made.record.model.fingerprint
    assert facts["corpus"]["fingerprint"] == made.record.corpus.fingerprint
    assert facts["identity"] == made.record.identity
    assert facts["environment"] == made.record.environment
    for site, path in made.record.caches.items():
        assert facts["caches"][site]["key"] == Path(path).name
    assert found["config"]["corpus"]["sentences"] == 60
    assert found["summary"]["phase"] == "finished"
    [probes] = found["artifacts"]["probes"]
    assert made.record.identity in probes.aliases
    assert {a.references[0].rpartition(":")[2] for a in found["artifacts"]["activations"]} == {
        Path(path).name for path in made.record.caches.values()
    }


def test_the_curve_ends_in_the_objective(tracked: RunConfig, tmp_path: Path) -> None:
    run(tracked, tmp_path)
    found = read_back(tmp_path)
    curve = [row["objective"] for row in found["rows"] if "objective" in row]
    layers = [row["fit/layer"] for row in found["rows"] if "fit/layer" in row]
    assert layers == sorted(layers) and len(set(layers)) > 1
    assert curve == sorted(curve)
    objective = objective_of(load_run(tmp_path).results)
    assert curve[-1] == found["summary"]["objective"] == pytest.approx(objective)


def test_a_failure_before_extraction_is_seen_there(
    tracked: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise UserError("the model cannot be opened", fix="another")

    monkeypatch.setattr("probes.pipeline.work.open_model", refuse)
    with pytest.raises(UserError):
        run(tracked, tmp_path)
    found = read_back(tmp_path)
    assert found["exit"] == 1 and found["summary"]["phase"] == "failed"
    assert "cannot be opened" in found["summary"]["error"]


def test_a_run_that_was_interrupted_goes_on_as_one(
    tracked: RunConfig, results: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, saved = PartStore.save, []

    def interrupted(store: PartStore, result: Any) -> None:
        saved.append(result)
        save(store, result)
        if len(saved) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(PartStore, "save", interrupted)
        run(tracked, tmp_path)
    time.sleep(1.1)  # W&B names directories by the second
    run(tracked, tmp_path)
    assert results_of(tmp_path) == results
    first, second = (read_log(log) for log in offline_logs(tmp_path))
    assert first["id"] == second["id"] and second["resume"]
    assert (first["exit"], second["exit"]) == (255, 0)
    done, points = len(first["rows"]), second["rows"]
    assert points[0]["fit/parts"] >= done, "the curve goes on, it does not begin again"


def test_results_survive_the_death_of_the_service(
    tracked: RunConfig, results: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    if not Path("/proc/self/stat").is_file():
        pytest.skip("reads /proc")
    monkeypatch.setattr(logging.getLogger("probes"), "propagate", True)
    log_fits = WandbRunLogger.log_fits

    def kill(logger: WandbRunLogger, fits: Any) -> None:
        for number in services():
            os.kill(number, signal.SIGKILL)
        log_fits(logger, fits)

    monkeypatch.setattr(WandbRunLogger, "log_fits", kill)
    run(tracked, tmp_path)
    assert results_of(tmp_path) == results and load_run(tmp_path)
    # A record counts once, however many handlers other tests have left that capture it.
    records = {id(one): one.getMessage() for one in caplog.records}
    told = [words for words in records.values() if words.startswith("W&B")]
    assert len(told) == 1 and "results are not affected" in told[0]


@pytest.mark.parametrize("change", [{"until": "extraction"}, {"shard": "0/2"}])
def test_what_leaves_no_results_is_no_run_of_wandb(
    tracked: RunConfig, tmp_path: Path, change: dict[str, Any]
) -> None:
    run(dataclasses.replace(tracked, **change), tmp_path)
    assert not (tmp_path / "wandb").exists()


@pytest.mark.slow  # two commands
def test_jobs_of_a_sweep(small: Small, tmp_path: Path) -> None:
    sweep = tmp_path / "my sweep"
    command = ("-m", *small.overrides, "seed=1,2", "logger=wandb", "logger.mode=offline",
               f"hydra.sweep.dir={quoted(str(sweep))}")  # fmt: skip
    # Not the service of this process, which other tests have killed.
    variables = {"HOME": str(tmp_path), "WANDB_SERVICE": ""}
    told = small.commands.run(*command, **variables).text
    [line] = [line for line in told.splitlines() if line.startswith("W&B: wandb sync ")]
    jobs = sorted(log.parents[2] for log in sweep.glob("*/wandb/offline-run-*/*.wandb"))
    # As a shell takes it: the directory's name has a blank.
    listed = subprocess.run(["sh", "-c", line.replace("W&B: wandb sync", "ls -d")],
                            capture_output=True, text=True, check=True)  # fmt: skip
    sent = {Path(path) for path in listed.stdout.splitlines()}
    assert sent == {log.parent for job in jobs for log in offline_logs(job)}
    found = [read_back(job) for job in jobs]
    assert len(found) == 2 and len({run["id"] for run in found}) == 2
    [group] = {run["group"] for run in found}
    assert group.startswith("sweep my sweep-")
    names = {f"llama grammar upos linear seed={number}" for number in (1, 2)}
    assert {run["name"] for run in found} == names, "what all of them set is in none"
    small.commands.run(*command, **variables)
    assert sum(len(offline_logs(job)) for job in jobs) == 2, "finished jobs are not begun again"
