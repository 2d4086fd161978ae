"""An atlas of a tiny model from end to end: what it leaves, and how it goes on."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

import probes.pipeline.run
from probes.analysis.runs import load_run
from probes.atlas.execute import Outcome, _make_room, finished_run, time_left
from probes.atlas.identity import is_of_settings
from probes.atlas.plan import AtlasJob, make_plan
from probes.atlas.run import run_atlas
from probes.config import AtlasConfig, BaselineConfig, EvaluationConfig, ModelConfig, RunConfig
from probes.core.claims import AlreadyFinished
from probes.core.errors import UserError
from probes.models.handle import Handle
from probes.models.loading import open_model
from probes.results.atlas import RECORD, TABLE, load_atlas
from probes.results.table import COLUMNS
from probes.sweeps.hydra_callback import SweepCallback, sweep_reports
from probes.sweeps.report import SweepReport
from tests.reporting.chromium import opened
from tests.tiny_checkpoints import write_checkpoint

CORPORA = ["iteration", "acronyms"]


ATLAS = AtlasConfig(corpora=CORPORA, examples=60, folds=0)


def base_of(folder: Path) -> RunConfig:
    """The settings of all jobs, on the model of this folder."""
    return RunConfig(
        model=ModelConfig(name=str(folder / "model")),
        evaluation=EvaluationConfig(bootstrap=20),
        baseline=BaselineConfig(all_heads="none", residual="none"),
        cache_dir=str(folder / "cache"),
        min_count=3,
    )


def job_named(name: str, base: RunConfig, handle: Handle) -> AtlasJob:
    (job,) = [job for job in make_plan(ATLAS, base, handle).jobs if job.name == name]
    return job


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model and of its atlas."""
    folder = tmp_path_factory.mktemp("atlas")
    write_checkpoint(folder / "model", "llama_gqa", max_position_embeddings=256)
    run_dir = folder / "sweep" / "atlas"
    (run_dir / ".hydra").mkdir(parents=True)
    (run_dir / ".hydra" / "overrides.yaml").write_text("[experiment=atlas]")
    run_atlas(ATLAS, base_of(folder), run_dir)
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


def test_it_goes_on_where_it_stopped(
    made: Path, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    real = probes.pipeline.run.run

    def counted(config: RunConfig, directory: Path) -> None:
        ran.append(directory.name)
        real(config, directory)

    monkeypatch.setattr(probes.pipeline.run, "run", counted)
    before = (run_dir / TABLE).read_bytes()
    (run_dir / RECORD).unlink()  # as if it had been interrupted in its second job
    (run_dir / "corpora" / "iteration" / "run.json").unlink()
    run_atlas(ATLAS, base_of(made), run_dir)
    assert ran == ["iteration"]
    assert (run_dir / TABLE).read_bytes() == before
    assert load_atlas(run_dir).record["timings"]["reused"] == ["acronyms"]


def test_the_time_left_is_by_tokens_of_what_was_run(made: Path, run_dir: Path) -> None:
    job = job_named("acronyms", base_of(made), open_model(base_of(made).model))
    run = load_run(run_dir / "corpora" / "acronyms")
    before = Outcome(job, run, seconds=900.0, reused=True)
    failed = Outcome(job, None, seconds=1.0, error="wrong")
    longer = replace(job, tokens=3 * job.tokens)
    assert time_left([before, failed, Outcome(job, run, 20.0)], [longer]) == ", about 1 min left"
    assert time_left([Outcome(job, run, 20.0)], []) == ""


def test_it_goes_on_with_the_fits_of_an_interrupted_corpus(
    made: Path,
    run_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    one = replace(ATLAS, corpora=["iteration"])
    directory = tmp_path / "corpora" / "iteration"
    with monkeypatch.context() as context:
        context.setattr(probes.pipeline.run, "publish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_atlas(one, base_of(made), tmp_path)
    parts = list(directory.glob("parts/*.part"))
    (directory / "maps").mkdir()
    (directory / "maps" / "old.png").touch()
    caplog.set_level(logging.INFO, "probes")
    run_atlas(one, base_of(made), tmp_path)
    assert f"{len(parts)} parts of the fits were stored before" in (
        (directory / "log.txt").read_text()
    )
    assert not (directory / "maps" / "old.png").exists()
    whole = run_dir / "corpora" / "iteration"
    assert (directory / "results.csv").read_bytes() == (whole / "results.csv").read_bytes()


def test_making_room_follows_no_link(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "precious").write_text("kept")
    job, linked = tmp_path / "corpora" / "job", tmp_path / "corpora" / "linked"
    (job / "parts").mkdir(parents=True)
    (job / "maps").symlink_to(mine)
    linked.symlink_to(mine)
    for directory in (job, linked):
        _make_room(directory)
    assert [path.name for path in job.iterdir()] == ["parts"]
    assert not linked.is_symlink() and not any(linked.iterdir())
    assert (mine / "precious").read_text() == "kept"


def test_another_configuration_is_not_taken_for_finished(made: Path, run_dir: Path) -> None:
    base = base_of(made)
    handle = open_model(base.model)
    directory = run_dir / "corpora" / "acronyms"
    assert finished_run(job_named("acronyms", base, handle), directory, handle) is not None
    for other in (replace(base, seed=4), replace(base, min_count=4)):
        assert finished_run(job_named("acronyms", other, handle), directory, handle) is None
    elsewhere = replace(base, memory_budget="2GB", cache_dir="/elsewhere")
    assert finished_run(job_named("acronyms", elsewhere, handle), directory, handle) is not None


def test_a_finished_atlas_is_recognised_by_its_settings(made: Path, run_dir: Path) -> None:
    base = base_of(made)
    assert is_of_settings(run_dir, ATLAS, base)
    assert is_of_settings(run_dir, ATLAS, replace(base, cache_dir="/elsewhere"))
    assert not is_of_settings(run_dir, ATLAS, replace(base, seed=4))
    assert not is_of_settings(run_dir, replace(ATLAS, stages=["LR"]), base)


def files_of(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("finished", [True, False])
def test_parts_of_other_settings_are_refused_and_stay(
    made: Path, run_dir: Path, tmp_path: Path, finished: bool
) -> None:
    directory = tmp_path / "atlas"
    shutil.copytree(run_dir, directory)
    if not finished:
        (directory / RECORD).unlink()
    before = files_of(directory)
    with pytest.raises(AlreadyFinished, match=r"acronyms, iteration are finished, with other"):
        run_atlas(ATLAS, replace(base_of(made), seed=4), directory)
    assert files_of(directory) == before


def test_a_damaged_part_is_made_anew(made: Path, run_dir: Path, tmp_path: Path) -> None:
    directory = tmp_path / "atlas"
    shutil.copytree(run_dir, directory)
    table = directory / "corpora" / "acronyms" / "results.csv"
    whole = table.read_bytes()
    table.write_bytes(whole[: len(whole) // 2])
    run_atlas(ATLAS, base_of(made), directory)
    assert load_atlas(directory).record["timings"]["reused"] == ["iteration"]
    assert table.read_bytes() == whole


def test_a_job_of_an_earlier_version_is_not_run_again(
    made: Path, run_dir: Path, tmp_path: Path
) -> None:
    """Its record has a key that is gone, and lacks one that was added since."""
    base = base_of(made)
    handle = open_model(base.model)
    job = job_named("acronyms", base, handle)
    directory = tmp_path / "acronyms"
    shutil.copytree(run_dir / "corpora" / "acronyms", directory)
    record = json.loads((directory / "run.json").read_text())
    del record["digest"], record["files"]  # which it did not have
    record["config"]["atlas"] = None
    del record["config"]["evaluation"]["codelength"]
    (directory / "run.json").write_text(json.dumps(record))
    assert finished_run(job, directory, handle) is not None
    record["config"]["evaluation"]["codelength"] = True
    (directory / "run.json").write_text(json.dumps(record))
    assert finished_run(job, directory, handle) is None


def test_a_job_that_cannot_be_run_stops_no_other(
    made: Path, run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(config: RunConfig, directory: Path) -> None:
        raise UserError("letters are out", fix="corpus=iteration")

    monkeypatch.setattr(probes.pipeline.run, "run", failing)
    finished = Path("corpora") / "iteration"
    shutil.copytree(run_dir / finished, tmp_path / finished)
    run_atlas(replace(ATLAS, stages=["ICI", "LR"]), base_of(made), tmp_path)
    atlas = load_atlas(tmp_path)
    assert {job for job, _ in atlas.features} == {"iteration"}
    (out,) = atlas.record["left_out"]
    assert out["corpus"] == "acronyms" and out["reason"] == "letters are out. Try corpus=iteration"
    assert "letters are out" in (tmp_path / "report.html").read_text()


def test_nothing_that_suits_is_a_mistake(made: Path, tmp_path: Path) -> None:
    base = replace(base_of(made), min_count=1000)
    with pytest.raises(UserError, match=r"nothing in the catalogue could be probed.*too few"):
        run_atlas(ATLAS, base, tmp_path)
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


def test_a_damaged_atlas_is_refused(run_dir: Path, tmp_path: Path) -> None:
    for name, old, new in ((TABLE, "0.", "0.1"), (RECORD, '"level": 0.05', '"level": 0.06')):
        directory = tmp_path / name
        shutil.copytree(run_dir, directory, ignore=shutil.ignore_patterns("corpora"))
        text = (directory / name).read_text()
        assert old in text
        (directory / name).write_text(text.replace(old, new, 1))
        with pytest.raises(UserError, match="refused"):
            load_atlas(directory)


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
