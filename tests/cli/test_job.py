"""A run's directory is its own: finished runs stay as they are, unfinished ones are begun anew."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from probes import load_run
from probes.cli import run as module
from probes.cli.job import run_job
from probes.cli.run import run
from probes.core.claims import TRY_LATER, held
from probes.core.process import Terminated
from probes.pipeline.prepare import PreparedRun
from probes.pipeline.recorder import RunRecorder
from probes.results.record import write_record
from probes.results.table import write_results
from tests.reporting.synthetic import make_record, make_results

SMALL = ("corpus.sentences=20", "features=[upos]", "trainer.progress=false")
STREAMS = {"encoder": [2, 2]}


def finish(prepared: PreparedRun, run_dir: Path) -> None:
    """In place of the model: made-up results under the record of this configuration."""
    if prepared.config.until == "extraction":  # what a sweep begins with
        return
    record = make_record(STREAMS)
    vars(record)["config"] = RunRecorder(prepared.config).plain_config()
    vars(record.corpus)["fingerprint"] = prepared.corpus.fingerprint
    write_results(make_results(STREAMS, seed=prepared.config.seed), run_dir / "results.csv")
    (run_dir / "maps").mkdir(exist_ok=True)
    (run_dir / "maps" / "upos.png").write_text("drawn")
    write_record(record, run_dir / "run.json")


@pytest.fixture(autouse=True)
def made_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Runs end at once; the directories they were given."""
    directories: list[Path] = []

    def run_prepared(prepared: PreparedRun, run_dir: Path) -> None:
        if prepared.config.until != "extraction":
            directories.append(run_dir)
        finish(prepared, run_dir)

    monkeypatch.setattr("probes.pipeline.run.run_prepared", run_prepared)
    monkeypatch.setattr("probes.pipeline.prepare.check_source", lambda model: None)
    monkeypatch.chdir(tmp_path)
    return directories


def start(*overrides: str, small: tuple[str, ...] = SMALL) -> int:
    GlobalHydra.instance().clear()
    flags = [word for word in overrides if word.startswith("-")]
    return run([*flags, *small, *(word for word in overrides if word not in flags)])


def content(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def stop_with(monkeypatch: pytest.MonkeyPatch, error: BaseException, after: int = 0) -> None:
    """Runs end so, the first ``after`` excepted."""
    done: list[Path] = []

    def run_prepared(prepared: PreparedRun, run_dir: Path) -> None:
        if prepared.config.until == "extraction":
            return
        if len(done) < after:
            done.append(run_dir)
            finish(prepared, run_dir)
            return
        (run_dir / "maps").mkdir()
        (run_dir / "maps" / "stale.png").write_text("of a run that did not end")
        raise error

    monkeypatch.setattr("probes.pipeline.run.run_prepared", run_prepared)


def test_runs_without_a_name_get_directories_of_their_own(made_up: list[Path]) -> None:
    for _ in range(5):
        assert start() == 0
    assert len(set(made_up)) == 5
    assert all(directory.parent.parent.name == "outputs" for directory in made_up)


def test_sweeps_without_a_name_get_directories_of_their_own(made_up: list[Path]) -> None:
    for _ in range(3):
        assert start("-m", "seed=1,2") == 0
    assert [path.name for path in made_up] == ["0", "1"] * 3
    assert len({path.parent for path in made_up}) == 3


def test_a_configuration_that_is_shown_makes_no_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start("--cfg=hydra", "--resolve") == 0
    assert "outputs/" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_refused_command_leaves_a_finished_run_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start("hydra.run.dir=out") == 0
    before = content(tmp_path / "out")
    assert {".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml"} <= set(before)
    assert start("hydra.run.dir=out", "seed=7") == 2
    assert "it already holds a finished run" in capsys.readouterr().err
    assert content(tmp_path / "out") == before


def test_a_directory_in_use_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    with held(tmp_path / "out"):
        before = content(tmp_path / "out")
        assert start("hydra.run.dir=out") == 2
        assert "being written by another run" in capsys.readouterr().err
        assert content(tmp_path / "out") == before
    assert start("hydra.run.dir=out") == 0


def test_an_unfinished_run_is_begun_anew(
    tmp_path: Path, made_up: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out" / "maps").mkdir(parents=True)
    (tmp_path / "out" / "maps" / "own.png").write_text("of the user")
    with monkeypatch.context() as patch:
        stop_with(patch, Exception("a bug"))
        (tmp_path / "out" / "maps" / "own.png").rename(tmp_path / "out" / "own.png")
        (tmp_path / "out" / "maps").rmdir()
        assert start("hydra.run.dir=out") == 1
    assert (tmp_path / "out" / "error.json").is_file()
    (tmp_path / "out" / "run.json").write_bytes(b"")  # a power cut
    assert start("hydra.run.dir=out") == 0
    left = content(tmp_path / "out")
    assert "maps/stale.png" not in left and "error.json" not in left
    assert "own.png" in left and "maps/upos.png" in left


def test_a_sweep_again_keeps_its_finished_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_up: list[Path]
) -> None:
    sweep = ("-m", "seed=1,2,3", "hydra.sweep.dir=sweep")
    with monkeypatch.context() as patch:
        stop_with(patch, KeyboardInterrupt(), after=1)
        assert start(*sweep) == 130
    assert (tmp_path / "sweep" / "sweep.csv").is_file()
    first = content(tmp_path / "sweep" / "0")
    assert start(*sweep) == 0
    assert [path.name for path in made_up] == ["1", "2"]
    assert content(tmp_path / "sweep" / "0") == first
    table = (tmp_path / "sweep" / "sweep.csv").read_text()
    assert "failed" not in table and all(f"\n{job},{job + 1}," in table for job in range(3))


def test_a_sweep_of_other_settings_does_not_take_finished_jobs_for_its_own(
    tmp_path: Path, made_up: list[Path]
) -> None:
    assert start("-m", "seed=1,2", "hydra.sweep.dir=sweep") == 0
    before = content(tmp_path / "sweep" / "1")
    assert start("-m", "seed=3,1", "hydra.sweep.dir=sweep") == 0
    assert content(tmp_path / "sweep" / "1") == before
    assert len(made_up) == 3 and made_up[2].name not in ("0", "1")
    assert load_run(made_up[2]).record.config["seed"] == 3


@pytest.mark.parametrize(("signal", "status"), [(KeyboardInterrupt, 130), (Terminated, 143)])
def test_a_signal_leaves_its_record_and_the_report_of_the_sweep(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    signal: type[KeyboardInterrupt],
    status: int,
) -> None:
    stop_with(monkeypatch, signal(), after=1)
    assert start("-m", "seed=1,2,3", "hydra.sweep.dir=sweep") == status
    assert "Interrupted." in capsys.readouterr().err
    error = json.loads((tmp_path / "sweep" / "1" / "error.json").read_text())
    assert error["kind"] == signal.__name__
    assert (tmp_path / "sweep" / "sweep.html").is_file()
    assert load_run(tmp_path / "sweep" / "0").features == ["upos"]


def test_what_is_logged_is_written_to_the_run_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert start("hydra.run.dir=one") == 0
    handlers = len(logging.getLogger("probes").handlers)
    assert start("hydra.run.dir=two", "features=[upso]") == 2
    assert len(logging.getLogger("probes").handlers) == handlers
    assert (tmp_path / "one" / "headprobes.log").is_file()


@pytest.mark.parametrize("overrides", [(), ("experiment=atlas",)])
def test_a_refused_command_leaves_a_finished_atlas_as_it_is(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    overrides: tuple[str, ...],
) -> None:
    monkeypatch.setattr("probes.atlas.identity.is_of_settings", lambda *_: False)
    (tmp_path / "out" / ".hydra").mkdir(parents=True)
    for name in ("atlas.json", "report.html", ".hydra/config.yaml"):
        (tmp_path / "out" / name).write_text("{}")
    before = content(tmp_path / "out")
    assert start("hydra.run.dir=out", *overrides) == 2
    assert "holds a finished atlas" in capsys.readouterr().err
    assert content(tmp_path / "out") == before


@pytest.mark.parametrize("in_process", [True, False])
def test_a_job_that_another_process_takes_after_the_plan_is_in_use(
    in_process: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert start("-m", "seed=1,2", "hydra.sweep.dir=sweep") == 0
    real = run_job
    monkeypatch.setattr("probes.sweeps.plan.in_use", lambda directory: False)

    def elsewhere(cfg: DictConfig) -> None:
        if pid := os.fork():
            os.waitpid(pid, 0)
            return
        try:
            real(cfg)
        finally:
            os._exit(0)

    if not in_process:
        monkeypatch.setattr(module, "run_job", elsewhere)
    first = next(path for path in (tmp_path / "sweep").glob("*/run.json"))
    first.unlink()
    with held(first.parent):
        before = content(first.parent)
        assert start("-m", "seed=1,2", "hydra.sweep.dir=sweep") == TRY_LATER
        assert content(first.parent) == before
    said = capsys.readouterr().err
    assert f"in use by another process: {first.parent.name}" in said and "failed" not in said
    assert ("being written by another run" in said) == in_process  # told when it was met
    assert not list((tmp_path / "sweep").glob("refused-*"))
    table = (tmp_path / "sweep" / "sweep.csv").read_text()
    assert f"in use,process {os.getpid()} on " in table and "failed" not in table
    assert start("-m", "seed=1,2", "hydra.sweep.dir=sweep") == 0, "nor blamed for it later"


def test_a_job_that_another_process_is_at_work_on_is_left_to_it(
    tmp_path: Path, made_up: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("-m", "seed=1,2", "sweep=both")
    assert start(*command) == 0
    first = next((tmp_path / "outputs").glob("**/run.json"))
    first.unlink()
    with held(first.parent):
        before = content(first.parent)
        assert start(*command) == TRY_LATER
        assert content(first.parent) == before
    said = capsys.readouterr().err
    assert "1 finished before, 1 in use by another process" in said
    sweep = tmp_path / "outputs" / "sweeps" / "both"
    assert f"in use,process {os.getpid()} on " in (sweep / "sweep.csv").read_text()
    assert "<b>in use</b>" in (sweep / "sweep.html").read_text()
    assert len(made_up) == 2
    assert start(*command) == 0 and made_up[2:] == [first.parent]
    assert "in use" not in (sweep / "sweep.csv").read_text()
    (first.parent / "run.json").unlink()
    with held(first.parent):
        assert start(*command, "features=[upos],[upso]") == 2, "a failure is worse"
    assert start(*command) == 0, "those of another command are not its own"


def test_an_extraction_that_another_process_makes_stays_its_own(
    tmp_path: Path, made_up: list[Path]
) -> None:
    command = ("-m", "layers=[0],[1]", "seed=1", "hydra.sweep.dir=sweep")
    (directory,) = _extraction_directories(command, tmp_path)
    directory.mkdir(parents=True, exist_ok=True)
    with held(directory):
        (directory / "headprobes.log").write_text("of the other process")
        assert start(*command) == 0
        assert (directory / "headprobes.log").read_text() == "of the other process"
    assert len(made_up) == 2


def _extraction_directories(command: tuple[str, ...], tmp_path: Path) -> list[Path]:
    """Of the shared activations, which are removed when they are stored."""
    made: list[Path] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda path, **given: made.append(Path(path)))
        patch.setattr("probes.cli.run.run_job", lambda cfg: None)
        start(*command)
    return made
