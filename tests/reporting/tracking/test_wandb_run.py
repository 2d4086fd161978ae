"""What a W&B run has in it, read back from its own log of an offline run."""

from __future__ import annotations

import json
import logging
import shlex
import time
from pathlib import Path
from typing import Any

import pytest

from probes.config import LoggerConfig
from probes.reporting.tracking.make_logger import make_logger
from probes.results.feature_table import FeatureTable
from probes.results.objective import objective_of
from probes.training.parts import Part
from tests.reporting.synthetic_effects import ANSWER, make_run
from tests.reporting.tracking.conftest import CONFIG, RECORD, TABLE, described
from tests.reporting.tracking.wandb_files import offline_logs, read_back, read_log

pytestmark = pytest.mark.usefixtures("clean_wandb")

WANDB = LoggerConfig(name="wandb")
CACHES = {"caches": {"heads": {"key": "ab" * 10, "rows": 7, "bytes": 99}}}


def fits_of(layer: int, accuracies: list[float], feature: str = "upos", **of: str) -> Any:
    """A part of the fits with its rows: heads of one layer, their accuracies on validation."""
    where = {"site": "heads", "probe": "linear"} | of
    part = Part(feature, where["site"], where["probe"], "encoder", layer, (0, 1))
    rows = [
        {"split": split, "metric": "accuracy", "value": value}
        for accuracy in accuracies
        for split, value in (("validation", accuracy), ("test", 1.0))
    ]
    return part, rows


@pytest.mark.parametrize("used_before", [False, True])
def test_nothing_is_printed_whatever_this_process_did_with_wandb_before(
    run_dir: Path, capfd: pytest.CaptureFixture[str], used_before: bool
) -> None:
    import wandb

    wandb.teardown()
    if used_before:
        wandb.setup(settings=wandb.Settings(silent=False))
    with make_logger(WANDB, described(run_dir)) as logger:
        logger.log_facts(CACHES)
        logger.log_run(TABLE, RECORD)
    assert capfd.readouterr() == ("", "")


def test_an_offline_run_reads_back(run_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = LoggerConfig(name="wandb", project="maps", group="mine", tags=["a", "b"])
    with make_logger(config, described(run_dir)) as logger:
        logger.log_facts({"model": {"fingerprint": "f00d"}})
        logger.log_facts(CACHES)
        logger.log_curve([{"step": 50.0, "accuracy": 0.9}])
        logger.log_run(TABLE, RECORD)
    assert capfd.readouterr() == ("", "")
    found = read_back(run_dir)
    assert (found["project"], found["group"], found["tags"]) == ("maps", "mine", ["a", "b"])
    assert (found["name"], found["job_type"]) == ("gpt2 ud upos linear", "probe")
    assert found["exit"] == 0
    assert found["config"]["probe"] == CONFIG["probe"] and found["config"]["seed"] == 3
    assert found["config"]["run"] == {"model": {"fingerprint": "f00d"}, **CACHES}
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


def test_the_summary_has_validation_to_search_and_test_to_read(run_dir: Path) -> None:
    with make_logger(WANDB, described(run_dir)) as logger:
        logger.log_fits([fits_of(0, [0.3, 0.5])])
        logger.log_run(TABLE, RECORD)
    summary = read_back(run_dir)["summary"]
    best = FeatureTable.of(TABLE, "upos").top(1).iloc[0]
    assert summary["objective"] == pytest.approx(objective_of(TABLE))
    assert summary["upos/validation_accuracy"] == pytest.approx(best["validation"])
    assert summary["upos/test_accuracy"] == pytest.approx(best["test"])
    assert summary["phase"] == "finished"


def test_the_curve_of_fits_never_falls_and_ends_in_the_result(run_dir: Path) -> None:
    with make_logger(WANDB, described(run_dir, features=("upos", "tense"))) as logger:
        logger.log_fits([fits_of(0, [0.3, 0.5]), fits_of(0, [0.2, 0.4], "tense")])
        logger.log_fits([fits_of(1, [0.9, 0.7])])
        logger.log_fits([fits_of(1, [0.99], site="residual")])  # no map of this run
        logger.log_fits([fits_of(1, [0.98], probe="random_init")])
        logger.log_fits([fits_of(2, [0.1, float("nan")], "tense")])
    found = read_back(run_dir)
    axis = {"objective", "upos/validation_accuracy", "tense/validation_accuracy"}
    assert {n for n, step in found["metrics"].items() if step == "fit/parts"} == axis
    rows = [(row["fit/parts"], row["fit/layer"], row["objective"]) for row in found["rows"]]
    assert rows == [(2, 0, pytest.approx(0.45)), (3, 1, pytest.approx(0.65)),
                    (4, 2, pytest.approx(0.65))]  # fmt: skip
    assert found["summary"]["objective"] == pytest.approx(0.65), "a number, no table of one"


@pytest.mark.parametrize(
    ("objective", "curve"), [("tense.accuracy", [0.4, 0.8]), ("upos.f1", []), ("f1", [])]
)
def test_the_curve_is_of_the_objective_that_is_asked_for(
    run_dir: Path, objective: str, curve: list[float]
) -> None:
    run = described(run_dir, features=("upos", "tense"), objective=objective)
    with make_logger(WANDB, run) as logger:
        for layer, value in enumerate((0.4, 0.8)):
            logger.log_fits([fits_of(layer, [0.5]), fits_of(layer, [value], "tense")])
    rows = read_back(run_dir)["rows"]
    assert [row["objective"] for row in rows if "objective" in row] == curve


def test_probes_are_versions_of_one_collection_with_what_they_are_made_of(run_dir: Path) -> None:
    with make_logger(WANDB, described(run_dir)) as logger:
        logger.log_facts(CACHES)
        logger.log_run(TABLE, RECORD)
    artifacts = read_back(run_dir)["artifacts"]
    [probes] = artifacts["probes"]
    assert probes.name == "probes-gpt2-ud-upos-linear" and not probes.used
    assert set(probes.aliases) == {"latest", "0123456789abcdef"}
    assert set(probes.files) == {"probes.safetensors", "probes.json", "results.csv", "run.json"}
    assert probes.metadata["model_fingerprint"] == RECORD.model.fingerprint
    assert probes.metadata["upos/validation_accuracy"] == pytest.approx(objective_of(TABLE))
    [corpus], [activations] = artifacts["corpus"], artifacts["activations"]
    assert corpus.used and corpus.references == [f"headprobes-corpus:{'c0ffee' * 10}"]
    assert activations.used and activations.references == [f"headprobes-activations:{'ab' * 10}"]
    assert activations.metadata == CACHES["caches"]["heads"]
    assert not corpus.files and not activations.files, "no text and no activation is sent"


def test_methods_have_maps_tables_and_their_agreement(run_dir: Path) -> None:
    made = make_run((3, 3, 3, 3), features=(ANSWER,))
    methods = ("probe", "ablation", "patching", "attribution")
    run = described(run_dir, features=(ANSWER,), methods=methods)
    with make_logger(WANDB, run) as logger:
        logger.log_run(made.table, made.record, made.maps)
    found = read_back(run_dir)
    assert found["job_type"] == "probe-and-interventions"
    assert found["name"] == f"gpt2 ud {ANSWER} linear+ablation+patching+attribution"
    logged = found["history"]
    agreed = json.loads((found["files"] / logged["agreement"]["path"]).read_text())
    assert {"first", "second", "correlation", "feature"} <= set(agreed["columns"])
    assert len(agreed["data"]) >= 3
    heads = json.loads((found["files"] / logged["heads"]["path"]).read_text())
    assert len(heads["data"]) >= 4 * 12 and "method" in heads["columns"]
    assert f"{ANSWER}/patching/denoise/total/all/largest_logit_difference" in found["summary"]


def test_a_run_without_probes_has_no_objective(run_dir: Path) -> None:
    made = make_run((3, 3), features=(ANSWER,), probes=False)
    run = described(run_dir, features=(ANSWER,), methods=("ablation",))
    with make_logger(WANDB, run) as logger:
        logger.log_run(made.table, made.record, made.maps)
    found = read_back(run_dir)
    assert found["job_type"] == "interventions"
    assert "objective" not in {**found["summary"], **found["history"], **found["metrics"]}


def test_a_failing_run_is_finished_as_failed(run_dir: Path) -> None:
    with pytest.raises(RuntimeError), make_logger(WANDB, described(run_dir)) as logger:
        logger.log_phase("extract")
        raise RuntimeError("out of memory")
    found = read_back(run_dir)
    assert found["exit"] == 1
    assert found["summary"]["phase"] == "failed"
    assert found["summary"]["error"] == "RuntimeError: out of memory"


def test_an_interrupted_run_is_told_from_a_failed_one(run_dir: Path) -> None:
    with pytest.raises(KeyboardInterrupt), make_logger(WANDB, described(run_dir)):
        raise KeyboardInterrupt
    assert read_back(run_dir)["exit"] == 255


def test_the_same_job_goes_on_as_the_same_run(run_dir: Path) -> None:
    with pytest.raises(RuntimeError), make_logger(WANDB, described(run_dir)):
        raise RuntimeError("killed midway")
    time.sleep(1.1)  # W&B names directories by the second
    with make_logger(WANDB, described(run_dir)) as logger:
        logger.log_run(TABLE, RECORD)
    with make_logger(WANDB, described(run_dir, identity="another")):
        pass
    runs = [read_log(log) for log in offline_logs(run_dir)]
    same = [run for run in runs if run["id"] == runs[0]["id"]]
    assert len(runs) == 3 and len(same) == 2, "another job in the directory is another run"
    assert all(run["resume"] for run in runs), "wandb sync adds to a run, it does not replace it"
    assert [run["exit"] for run in same] == [1, 0]


def test_jobs_in_one_process_get_runs_of_their_own_and_share_a_group(tmp_path: Path) -> None:
    jobs = [tmp_path / "sweeps" / "2026-11-20" / "10-00-00" / str(n) for n in range(2)]
    for number, job in enumerate(jobs):
        (job / ".hydra").mkdir(parents=True)
        (job / ".hydra" / "hydra.yaml").write_text("hydra:\n  mode: MULTIRUN\n")
        with make_logger(WANDB, described(job, config={"number": number})) as logger:
            logger.log_run(TABLE, RECORD)
    found = [read_back(job) for job in jobs]
    assert [one["config"]["number"] for one in found] == [0, 1]
    assert found[0]["id"] != found[1]["id"]
    assert {one["group"] for one in found} == {"sweep 2026-11-20 10-00-00"}


def test_the_last_line_says_how_to_send_it(
    run_dir: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("probes"), "propagate", True)
    caplog.set_level(logging.INFO)
    moved = run_dir.rename(run_dir.parent / "my run's")
    with make_logger(WANDB, described(moved)) as logger:
        logger.log_run(TABLE, RECORD)
    words = shlex.split(caplog.records[-1].getMessage())
    assert words[:3] == ["W&B:", "wandb", "sync"]
    [log] = offline_logs(moved)
    assert Path(words[3]) == log.parent
