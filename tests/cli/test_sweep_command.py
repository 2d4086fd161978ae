"""A sweep given again runs only what is missing; its plan says so before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from probes import load_run
from probes.config import RunConfig
from probes.pipeline.prepare import PreparedRun
from probes.results.objective import objective_of
from tests.cli.test_job import SMALL, content, finish, made_up, start, stop_with

__all__ = ["made_up"]  # a fixture of every test here


def directories(sweep: Path) -> dict[int, Path]:
    """By the seed of its finished run."""
    runs = [path.parent for path in sweep.glob("*/run.json")]
    return {load_run(run).record.config["seed"]: run for run in runs}


def test_a_named_sweep_goes_on_where_it_was_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_up: list[Path]
) -> None:
    sweep = tmp_path / "outputs" / "sweeps" / "night"
    with monkeypatch.context() as patch:
        stop_with(patch, KeyboardInterrupt(), after=1)
        assert start("-m", "seed=1,2,3", "sweep=night") == 130
    (first,) = directories(sweep).values()
    before = content(first)
    assert start("-m", "seed=1,2,3", "sweep=night") == 0
    assert len(made_up) == 2 and first not in made_up
    assert content(first) == before
    # In another order, and more of them: those that are there keep their directories.
    known = directories(sweep)
    assert start("-m", "seed=4,3,2,1", "sweep=night", "trainer=cpu") == 0
    assert len(made_up) == 3 and directories(sweep) == {**known, 4: made_up[2]}
    table = (sweep / "sweep.csv").read_text()
    assert all(f"\n{path.name},{seed}," in table for seed, path in directories(sweep).items())


def test_a_damaged_job_is_run_again(tmp_path: Path, made_up: list[Path]) -> None:
    sweep = tmp_path / "outputs" / "sweeps" / "x"
    assert start("-m", "seed=1,2", "sweep=x") == 0
    damaged = directories(sweep)[2]
    (damaged / "results.csv").write_text("feature,value\n")
    assert start("-m", "seed=1,2", "sweep=x") == 0
    assert made_up[2:] == [damaged]
    assert "failed" not in (sweep / "sweep.csv").read_text()


def test_jobs_of_other_texts_are_other_jobs(tmp_path: Path, made_up: list[Path]) -> None:
    rows = [f"{'good' if i % 3 else 'bad'} text {i},{i % 2}" for i in range(60)]
    table = ["corpus=table", "corpus.path=rows.csv", "corpus.text=text", "features=[label]",
             "++corpus.labels.label=label", "min_count=1"]  # fmt: skip
    for _ in range(2):
        Path("rows.csv").write_text("\n".join(["text,label", *rows]) + "\n")
        for _ in range(2):
            assert start("-m", *table, "seed=1,2", "sweep=texts", small=()) == 0
        rows[5] = "another text,1"
    assert len(made_up) == 4 and len(set(made_up)) == 4


def test_equal_jobs_are_run_once(
    tmp_path: Path, made_up: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert start("-m", "seed=1,2,1", "trainer.accelerator=cpu,auto", "sweep=twins") == 0
    assert len(made_up) == 2
    assert "2 to be run, 4 the same as another" in capsys.readouterr().err


def test_a_plan_alone_leaves_nothing(
    tmp_path: Path, made_up: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for where in ("sweep=later", "hydra.sweep.dir=a/b", "min_count=3"):
        assert start("-m", "seed=1,2", "layers=[0],[1]", where, "plan=true") == 0
        shown = capsys.readouterr().err
        assert "4 to be run" in shown and "seed: 1, 2" in shown and "layers: [0], [1]" in shown
        assert "activations for 4 jobs: minilm on grammar, heads, residual, 2 layers" in shown
        assert "4 jobs are of some layers or features: headprobes merge can join them" in shown
        assert ("to go on after an interruption" in shown) == (where != "sweep=later")
    assert not made_up and not (tmp_path / "outputs").exists() and not (tmp_path / "a").exists()
    assert start("-m", "seed=1,2", "sweep=later") == 0
    before = content(tmp_path / "outputs")
    assert start("-m", "seed=1,2", "sweep=later", "plan=true") == 0
    shown = capsys.readouterr().err
    assert "2 finished before" in shown and "merge" not in shown
    assert content(tmp_path / "outputs") == before


def test_a_plan_leaves_the_files_of_a_command_that_begins_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_another = tmp_path / "a" / "multirun.yaml"

    def begins(*_: object) -> list[str]:
        of_another.parent.mkdir()
        of_another.write_text("of another")
        return []

    monkeypatch.setattr("probes.sweeps.launching.plan_lines", begins)
    assert start("-m", "seed=1,2", "hydra.sweep.dir=a", "plan=true") == 0
    assert of_another.read_text() == "of another"


def test_a_mistake_in_one_job_is_told_once_and_stops_no_other(
    made_up: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert start("-m", "seed=1,2", "features=[upos],[upso]", "sweep=mistakes") == 2
    assert len(made_up) == 2
    shown = capsys.readouterr().err
    lines = [line for line in shown.splitlines() if line.startswith("job ") and "failed" in line]
    assert len(lines) == 2 and all("has no feature 'upso'" in line for line in lines)
    assert shown.count("Traceback") == 0
    assert "2 of 4 jobs finished" in shown


@pytest.mark.parametrize("wrong", ["probe=mlp,linear probe.hidden=8", "seed=1,word", "sed=1,2"])
def test_a_job_that_cannot_be_composed_stops_the_sweep_before_it_begins(
    wrong: str, made_up: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert start("-m", *wrong.split(), "sweep=wrong") == 2
    assert not made_up
    shown = capsys.readouterr().err
    assert shown.count("error: ") == 1 and "Traceback" not in shown


def test_what_jobs_share_is_extracted_once_before_them(
    monkeypatch: pytest.MonkeyPatch, made_up: list[Path]
) -> None:
    order: list[RunConfig] = []

    def run_prepared(prepared: PreparedRun, run_dir: Path) -> None:
        order.append(prepared.config)
        finish(prepared, run_dir)

    monkeypatch.setattr("probes.pipeline.run.run_prepared", run_prepared)
    assert start("-m", "layers=[3],[1],[1,2]", "seed=1,2", "position.word=mean,last_subword") == 0
    extractions = [config for config in order if config.until == "extraction"]
    assert order[:2] == extractions and len(order) == 2 + 12
    assert {config.position.word for config in extractions} == {"mean", "last_subword"}
    assert all(config.layers == [1, 2, 3] for config in extractions)


@pytest.mark.parametrize("name", ["../up", "/abs", ".hidden", "a/b", "-x", "'a b'"])
def test_names_that_are_paths_are_refused(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start("-m", "seed=1,2", f"sweep={name}") == 2
    assert "is no name of a directory" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("key", ["sweep=x", "plan=true"])
def test_a_single_run_has_neither_name_nor_plan(
    key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(key) == 2
    assert f"Try -m {key}" in capsys.readouterr().err


def test_nothing_heavy_is_imported_where_nothing_is_missing(
    tmp_path: Path, made_up: list[Path]
) -> None:
    command = ["-m", *SMALL, "seed=1,2", "sweep=done"]
    assert start("-m", "seed=1,2", "sweep=done") == 0
    code = (
        "import sys; from probes.cli.run import run; status = run(sys.argv[1:]); "
        "print(status, sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.stdout.strip().endswith("0 []"), done.stderr
    assert "2 of 2 jobs finished before" in done.stderr


def test_a_search_maximises_validation_and_keeps_its_trials(
    tmp_path: Path, made_up: list[Path]
) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="the extra optuna")
    pytest.importorskip("optuna", exc_type=ImportError, reason="the extra optuna")
    search = ("-m", "hydra/sweeper=search", "hydra.sweeper.n_trials=5", "seed=range(0,9)",
              "sweep=search")  # fmt: skip
    assert start(*search) == 0
    reached = {
        seed: objective_of(load_run(run).results)
        for seed, run in directories(tmp_path / "outputs" / "sweeps" / "search").items()
    }
    best = OmegaConf.load("outputs/sweeps/search/optimization_results.yaml")
    assert len(made_up) == len(reached) > 2
    assert best.best_value == pytest.approx(max(reached.values()))
    assert reached[int(best.best_params["seed"])] == best.best_value
    begun = len(made_up)
    assert start(*search) == 0
    assert len(made_up) == begun  # the same trials, and each is there


@pytest.mark.parametrize("choice", ["hydra/launcher=processes", "hydra/sweeper=search"])
def test_an_extra_that_is_missing_is_one_message(
    choice: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("probes.sweeps.launchers.importlib.util.find_spec", lambda name: None)
    assert start("-m", choice, "seed=1,2", "sweep=missing") == 2
    shown = capsys.readouterr().err
    assert f"error: {choice}: its package is not installed" in shown
    assert "pip install 'headprobes[" in shown and "Traceback" not in shown
