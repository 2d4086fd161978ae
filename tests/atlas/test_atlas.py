"""An atlas of a tiny model from end to end: what it leaves, and how it goes on."""

from __future__ import annotations

import copy
import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

import probes.pipeline.run
from probes.analysis.runs import load_run
from probes.atlas.atlas import run_atlas
from probes.atlas.execute import finished_run
from probes.atlas.plan import make_plan
from probes.config import AtlasConfig, ModelConfig, RunConfig
from probes.core.errors import UserError
from probes.models.loading import open_model
from probes.results.atlas import RECORD, TABLE, load_atlas
from probes.results.table import COLUMNS
from probes.sweeps.hydra_callback import SweepCallback, sweep_reports
from probes.sweeps.report import SweepReport
from tests.reporting.chromium import opened
from tests.tiny_checkpoints import write_checkpoint

CORPORA = ["iteration", "acronyms"]


def config_of(folder: Path, **atlas: object) -> RunConfig:
    config = RunConfig(
        model=ModelConfig(name=str(folder / "model")),
        atlas=AtlasConfig(corpora=CORPORA, examples=60, folds=0, **atlas),  # type: ignore[arg-type]
        cache_dir=str(folder / "cache"),
        min_count=3,
    )
    config.evaluation.bootstrap = 20
    config.baseline.all_heads = config.baseline.residual = False
    return config


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model and of its atlas."""
    folder = tmp_path_factory.mktemp("atlas")
    write_checkpoint(folder / "model", "llama_gqa", max_position_embeddings=256)
    run_dir = folder / "sweep" / "atlas"
    (run_dir / ".hydra").mkdir(parents=True)
    (run_dir / ".hydra" / "overrides.yaml").write_text("[experiment=atlas]")
    run_atlas(config_of(folder), run_dir)
    return folder


@pytest.fixture
def run_dir(made: Path) -> Path:
    return made / "sweep" / "atlas"


def test_what_it_leaves(run_dir: Path) -> None:
    assert {"atlas.csv", "atlas.json", "report.html", "maps", "corpora"} <= {
        path.name for path in run_dir.iterdir()
    }
    maps = {path.name for path in (run_dir / "maps").iterdir()}
    assert {"LR.png", "LR.svg", "ICI.png", "depth.png", "depth.svg"} <= maps
    record = json.loads((run_dir / RECORD).read_text())
    assert [job["name"] for job in record["jobs"]] == ["acronyms", "iteration"]
    assert record["model"]["layers"] == {"decoder": 2}
    assert set(record["timings"]["jobs"]) == {"acronyms", "iteration"}
    log = (run_dir / "corpora" / "iteration" / "log.txt").read_text()
    assert "layer 0" in log or "best on validation" in log


def test_the_table_is_that_of_its_runs(run_dir: Path) -> None:
    table = load_atlas(run_dir).table
    assert list(table.columns[: len(COLUMNS)]) == list(COLUMNS)
    key = ["job", "feature", "stream", "layer", "head"]
    assert not table.duplicated(key).any()
    assert len(table) == 8 * len(table[["job", "feature"]].drop_duplicates())
    run = load_run(run_dir / "corpora" / "iteration")
    rows = table[(table["job"] == "iteration") & (table["feature"] == "state")]
    for column, metric in (
        ("value", "accuracy"), ("control", "control_accuracy"), ("gain", "gain_majority"),
    ):  # fmt: skip
        mine = rows.pivot(index="layer", columns="head", values=column).to_numpy(dtype=float)
        np.testing.assert_allclose(mine, run.map("state", metric).to_numpy(), atol=1e-7)
    harder = np.maximum(
        run.map("state", "p_value").to_numpy(), run.map("state", "p_control").to_numpy()
    )
    mine = rows.pivot(index="layer", columns="head", values="p").to_numpy(dtype=float)
    np.testing.assert_allclose(mine, harder)
    floor = np.maximum(rows["majority"], rows["control"])
    np.testing.assert_allclose(rows["score"], (rows["value"] - floor) / (1 - rows["majority"]))
    assert (table["significant"] == ((table["q"] <= 0.05) & (table["score"] > 0))).all()


def test_it_goes_on_where_it_stopped(made: Path, run_dir: Path, monkeypatch) -> None:
    ran: list[str] = []
    real = probes.pipeline.run.run

    def counted(config: RunConfig, directory: Path) -> None:
        ran.append(directory.name)
        real(config, directory)

    monkeypatch.setattr(probes.pipeline.run, "run", counted)
    before = (run_dir / TABLE).read_bytes()
    (run_dir / RECORD).unlink()  # as if it had been interrupted in its second job
    (run_dir / "corpora" / "iteration" / "run.json").unlink()
    run_atlas(config_of(made), run_dir)
    assert ran == ["iteration"]
    assert (run_dir / TABLE).read_bytes() == before
    assert load_atlas(run_dir).record["timings"]["reused"] == ["acronyms"]


def test_another_configuration_is_not_taken_for_finished(made: Path, run_dir: Path) -> None:
    config = config_of(made)
    handle = open_model(config.model)
    job = next(job for job in make_plan(config, handle).jobs if job.name == "acronyms")
    directory = run_dir / "corpora" / "acronyms"
    assert finished_run(job, directory, handle) is not None
    for change in ("seed", "min_count"):
        other = copy.deepcopy(config)
        setattr(other, change, 4)
        (changed,) = [j for j in make_plan(other, handle).jobs if j.name == "acronyms"]
        assert finished_run(changed, directory, handle) is None
    slower = copy.deepcopy(config)
    slower.memory_budget, slower.cache_dir = "2GB", "/elsewhere"
    (same,) = [j for j in make_plan(slower, handle).jobs if j.name == "acronyms"]
    assert finished_run(same, directory, handle) is not None


def test_a_job_that_cannot_be_run_stops_no_other(
    made: Path, run_dir: Path, tmp_path: Path, monkeypatch
) -> None:
    def failing(config: RunConfig, directory: Path) -> None:
        raise UserError("letters are out", fix="corpus=iteration")

    monkeypatch.setattr(probes.pipeline.run, "run", failing)
    finished = Path("corpora") / "iteration"
    shutil.copytree(run_dir / finished, tmp_path / finished)
    run_atlas(config_of(made, stages=["ICI", "LR"]), tmp_path)
    atlas = load_atlas(tmp_path)
    assert {job for job, _ in atlas.features} == {"iteration"}
    (out,) = atlas.record["left_out"]
    assert out["corpus"] == "acronyms" and out["reason"] == "letters are out. Try corpus=iteration"
    assert "letters are out" in (tmp_path / "report.html").read_text()


def test_nothing_that_suits_is_a_mistake(made: Path, tmp_path: Path) -> None:
    config = config_of(made)
    config.min_count = 1000
    with pytest.raises(UserError, match=r"nothing in the catalogue could be probed.*too few"):
        run_atlas(config, tmp_path)
    assert not (tmp_path / RECORD).exists()


def test_an_atlas_is_no_run(run_dir: Path) -> None:
    with pytest.raises(UserError, match=r"is an atlas.*acronyms, iteration.*corpora/acronyms"):
        load_run(run_dir)


def multirun_end(directory: Path, *, started: float = 0.0) -> SweepReport:
    """What Hydra does at the end of a multirun; its report."""
    callback = SweepCallback()
    callback.started = started
    with sweep_reports() as reports:
        callback.on_multirun_end(OmegaConf.create({"hydra": {"sweep": {"dir": str(directory)}}}))
    (report,) = reports
    return report


def test_a_sweep_counts_it_as_finished(made: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        report = multirun_end(made / "sweep")
    assert report.exit_status == 0 and "1 of 1 jobs finished" in caplog.text
    table = pd.read_csv(made / "sweep" / "sweep.csv")
    assert set(table["status"]) == {"finished"} and set(table["corpus"]) == set(CORPORA)
    page = (made / "sweep" / "sweep.html").read_text()
    assert "maps below" not in page
    assert '<a href="atlas/report.html">atlas</a>' in page and "of 8 heads carry something" in page


def test_old_jobs_of_a_shared_directory_do_not_count(made: Path) -> None:
    failed = made / "sweep" / "old"
    (failed / ".hydra").mkdir(parents=True)
    (failed / "error.json").write_text('{"error": "no such model"}')
    report = multirun_end(made / "sweep")
    assert [job.name for job in report.without_results] == ["old"] and report.exit_status == 2
    assert multirun_end(made / "sweep", started=1e12).exit_status == 0


def test_chromium_draws_the_page(run_dir: Path) -> None:
    dom = opened(
        run_dir / "report.html",
        after="""
        const cell = document.querySelectorAll(".cell")[1];
        cell.dispatchEvent(new PointerEvent("pointermove", {clientX: 9, bubbles: true}));
        """,
    )
    assert "data-error" not in dom
    stages = len(load_atlas(run_dir).table["stages"].str.split().explode().unique())
    assert dom.count('data-rendered="atlas"') == stages
    assert dom.count('class="cell"') == 8 * stages
    assert "layer 0 · head 1" in dom
