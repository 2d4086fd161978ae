"""The scripts in ``examples/`` run, as a user would run them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hydra.core.global_hydra import GlobalHydra

from probes import Run, load_run
from probes.cli import commands as cli
from tests.conftest import PROJECT
from tests.tiny_checkpoints import write_checkpoint

EXAMPLES = PROJECT / "examples"
SMALL = ("min_count=2", "evaluation.bootstrap=20", "probe.l2=[10]", "trainer.progress=false")

Probe = Callable[..., Run]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a random GPT-2 of two layers with four heads."""
    folder = tmp_path_factory.mktemp("examples")
    write_checkpoint(folder, "gpt2", n_positions=256)
    return folder


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Probe:
    """A run of these overrides, through the command line in this process."""

    def run(name: str, *overrides: str) -> Run:
        if not (folder / name / "run.json").exists():
            directories = (f"hydra.run.dir={folder / name}", f"cache_dir={folder / 'cache'}")
            model = ("model=hf", f"model.name={folder}")
            monkeypatch.setattr(sys, "argv", ["train.py", *model, *SMALL, *directories, *overrides])
            GlobalHydra.instance().clear()
            assert cli.run_command() == 0
        return load_run(folder / name)

    return run


def example(name: str) -> ModuleType:
    """An example, imported from its file."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def grammar(run: Probe, name: str, *more: str) -> Run:
    return run(name, "corpus.sentences=120", "features=[upos]", *more)


def test_draw_a_map(run: Probe, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = grammar(run, "first").directory
    example("draw_a_map").main(str(directory), str(tmp_path / "map.png"))
    assert (tmp_path / "map.png").stat().st_size > 1000
    assert "predicts" in capsys.readouterr().out


def test_compare_runs(run: Probe, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = grammar(run, "first"), grammar(run, "second", "probe.l2=[1000]")
    example("compare_runs").main(str(first.directory), str(second.directory))
    assert "upos" in capsys.readouterr().out


def test_my_corpus(run: Probe) -> None:
    target = f"corpus._target_={EXAMPLES / 'my_corpus.py'}:number_words"
    made = run("corpus", "corpus=custom", target, "corpus.examples=200")
    assert made.features == ["number"]
    assert made.map("number").shape == (2, 4)


def test_my_generated_corpus(run: Probe) -> None:
    target = f"corpus._target_={EXAMPLES / 'my_generated_corpus.py'}:opposites"
    made = run("generated", "corpus=custom", target, "corpus.examples=200", "features=[said]")
    assert made.map("said").to_numpy().max() > 0.5, "the word itself is read"


def test_my_metric(run: Probe) -> None:
    metric = f"evaluation.metrics=[{EXAMPLES / 'my_metric.py'}:minority_accuracy]"
    made = grammar(run, "metric", metric)
    assert made.map("upos", metric="minority_accuracy").notna().to_numpy().all()


def test_head_norms(folder: Path) -> None:
    norms = example("head_norms").main(str(folder))
    assert [len(norms[layer]) for layer in (0, 1)] == [4, 4]
    assert all((of_layer > 0).all() for of_layer in norms.values())
