"""The command line from end to end: runs, sweeps, and what it says when something is wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from hydra.core.global_hydra import GlobalHydra

from probes import Run, load_run
from probes.cli import commands as cli
from tests.conftest import PROJECT
from tests.tiny_checkpoints import write_checkpoint

SMALL = (
    "corpus.sentences=150",
    "features=[upos]",
    "min_count=5",
    "evaluation.bootstrap=50",
    "probe.l2=[10]",
    "trainer.progress=false",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random GPT-2 of two layers with four heads, and its tokenizer."""
    return write_checkpoint(tmp_path_factory.mktemp("model"), "gpt2", n_positions=256)


def command(*overrides: str) -> list[str]:
    return [sys.executable, str(PROJECT / "train.py"), *overrides]


def run_here(monkeypatch: pytest.MonkeyPatch, *overrides: str) -> int:
    """The exit status of the command line, in this process."""
    monkeypatch.setattr(sys, "argv", ["train.py", *overrides])
    GlobalHydra.instance().clear()
    return cli.run_command()


@pytest.fixture(scope="module")
def finished(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run through the real command, in a process of its own, from another directory."""
    folder = tmp_path_factory.mktemp("run")
    done = subprocess.run(
        command("model=hf", f"model.name={model}", *SMALL, "hydra.run.dir=out", "cache_dir=cache"),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    (folder / "stdout.txt").write_text(done.stdout)
    (folder / "stderr.txt").write_text(done.stderr)
    return folder


def test_a_run_leaves_what_the_contract_names(finished: Path) -> None:
    out = finished / "out"
    for name in (
        ".hydra/config.yaml", "run.json", "results.csv", "probes.safetensors", "probes.json",
        "maps/upos.png", "maps/upos.svg", "report.html",
    ):  # fmt: skip
        assert (out / name).stat().st_size > 0, name
    columns = "feature,site,probe,stream,layer,head,split,metric,value,ci_low,ci_high,n"
    header = (out / "results.csv").read_text().splitlines()[0]
    assert header.startswith(columns)
    record = json.loads((out / "run.json").read_text())
    assert {"extract_seconds", "fit_seconds", "report_seconds"} <= set(record["timings"])
    assert record["config"]["cache_dir"] == "cache", "as the user composed it"
    assert record["config"]["atlas"] is None
    assert record["tokens_per_second"] > 0 and record["peak_memory_bytes"] > 10**7


def test_a_run_says_what_it_did(finished: Path) -> None:
    err, out = (finished / "stderr.txt").read_text(), (finished / "stdout.txt").read_text()
    assert "majority" in err and "classes" in err  # class counts before training
    assert "report.html" in err
    assert "upos" in out and "best on validation" in out


def test_no_path_of_the_user_is_saved(finished: Path) -> None:
    home = os.path.expanduser("~")
    for file in [*(finished / "out").glob("*.json"), *(finished / "out" / ".hydra").iterdir()]:
        assert home + "/" not in file.read_text(), file


def test_the_analysis_example(finished: Path) -> None:
    run = load_run(finished / "out")
    assert run.map("upos").shape == (2, 4)
    assert len(run.top("upos", k=3)) == 3
    probe = run.probe("upos", layer=1, head=1)
    z = run.cache().layer(1)[1]
    test = run.results.query(
        "site == 'heads' and layer == 1 and head == 1 and split == 'test' and metric == 'accuracy'"
    )
    assert set(probe.predict(z.float().numpy())) <= set(probe.classes_)
    assert 0 <= float(test["value"].iloc[0]) <= 1
    labels = _gold(run, z.shape[0])
    rows = [i for i, (split, label) in enumerate(labels) if split == 2 and label in probe.classes_]
    score = probe.score(z[rows].float().numpy(), [labels[i][1] for i in rows])
    assert score == pytest.approx(float(test["value"].iloc[0]), abs=1e-9)


def _gold(run: Run, rows: int) -> list[tuple[int, str | None]]:
    """Split and label of each row, from the corpus itself."""
    from probes.config import GrammarConfig, SplitConfig
    from probes.corpora import load_corpus
    from probes.corpora.splits import assign_splits

    corpus = assign_splits(load_corpus(GrammarConfig(sentences=150)), SplitConfig())
    feature, units = corpus.features["upos"], run.cache().rows["unit"]
    assert len(units) == rows
    return [
        (
            int(corpus.splits[corpus.units.example[unit]]),
            feature.classes[feature.codes[unit]] if feature.codes[unit] >= 0 else None,
        )
        for unit in units
    ]


def test_the_same_run_again_does_not_run_the_model(
    finished: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(finished)

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("probes.models.handle.Handle.load", never)
    again = ("model=hf", f"model.name={model}", *SMALL, "hydra.run.dir=again", "cache_dir=cache")
    assert run_here(monkeypatch, *again) == 0
    assert "reused" in capfd.readouterr().err
    first, second = (pd.read_csv(finished / name / "results.csv") for name in ("out", "again"))
    pd.testing.assert_frame_equal(first, second)


def test_a_finished_run_is_not_overwritten(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(finished)
    before = (finished / "out" / "results.csv").read_bytes()
    assert run_here(monkeypatch, *SMALL, "hydra.run.dir=out") == 2
    assert "it already holds a finished run" in capfd.readouterr().err
    assert (finished / "out" / "results.csv").read_bytes() == before


BAD = {
    "a key that does not exist": (("corpus.sentance=3",), r"sentance"),
    "a choice that does not exist": (("corpus=udd",), r"udd"),
    "a value of the wrong type": (("min_count=many",), r"min_count"),
    "a missing mandatory key": (("corpus=ud",), r"corpus\.path=\.\.\."),
    "an override without a value": (("features",), r"features"),
    "an unknown feature": (("features=[upso]",), r"upso.*Try features=\[upos\]"),
    "an unknown model": (("model=hf", "model.name=no/such-model"), r"no/such-model"),
    "an unknown site": (("site=head",), r"site=head.*Try site=heads"),
    "a size that is none": (("memory_budget=lots",), r"memory_budget=lots"),
    "a missing file": (("corpus=ud", "corpus.path=nowhere"), r"nowhere"),
    "rare classes only": (("min_count=100000",), r"min_count"),
    "an unknown split": (("split.source=mine",), r"split\.source=mine"),
    "seeds of a linear probe": (("seeds=[1,2]", "evaluation.bootstrap=0"), r"seeds=\[1, 2\]"),
    "a layer that is not there": (("layers=[77]",), r"77"),
    "a feature to erase that is not there": (("evaluation.erase=upso",), r"upso"),
}


@pytest.mark.parametrize("case", BAD)
def test_mistakes_get_one_message(
    case: str,
    finished: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    overrides, message = BAD[case]
    monkeypatch.chdir(tmp_path)
    here = ["model=hf", f"model.name={model}", "corpus.sentences=150", "trainer.progress=false"]
    if any(override.startswith("corpus=") for override in overrides):
        here.remove("corpus.sentences=150")
    assert run_here(monkeypatch, *here, *overrides) == 2
    err = capfd.readouterr().err
    assert "Traceback" not in err
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert re.search(message, err)
    assert not list(tmp_path.rglob("run.json")), "nothing half-done may look finished"


MISTAKES = (
    "features=[upso]",
    "probe.l2=[-1]",
    "model=hf model.name=./nowhere",
    "experiment=atlas features=[upos]",
)


def test_mistakes_are_answered_before_torch_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from hydra.core.global_hydra import GlobalHydra\n"
        "from probes.cli import commands as cli\n"
        "heavy = {'torch', 'transformers', 'lightning', 'sklearn', 'matplotlib', 'scipy.stats'}\n"
        f"for mistake in {MISTAKES!r}:\n"
        "    sys.argv = ['train.py', *mistake.split()]\n"
        "    GlobalHydra.instance().clear()\n"
        "    print(mistake, cli.run_command(), sorted(heavy & set(sys.modules)))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == [f"{mistake} 2 []" for mistake in MISTAKES], done.stderr


def test_a_path_that_is_a_file(
    tmp_path: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("")
    for key in ("cache_dir=taken", "hydra.run.dir=taken"):
        assert run_here(monkeypatch, "model=hf", f"model.name={model}", *SMALL, key) == 2
        err = capfd.readouterr().err
        assert "taken" in err and "Traceback" not in err


def test_an_interrupt_ends_quietly(model: Path, tmp_path: Path) -> None:
    run = subprocess.Popen(
        command("model=hf", f"model.name={model}", *SMALL, "corpus.sentences=3000"),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that a shell runs in the background are deaf to it, and so are their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert run.stderr is not None
    for line in run.stderr:
        if line.startswith("model "):
            break
    time.sleep(0.2)
    run.send_signal(signal.SIGINT)
    rest = run.stderr.read()
    assert run.wait(timeout=60) == 130
    assert "Traceback" not in rest and "resumes" in rest
    assert not list(tmp_path.rglob("run.json"))


@pytest.mark.slow
def test_a_sweep_goes_on_after_a_failed_job(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = ("features=[upos],[upso],[number]", "cache_dir=cache", "hydra.sweep.dir=sweep")
    assert run_here(monkeypatch, "-m", "model=hf", f"model.name={model}", *SMALL, *sweep) == 2
    assert "Traceback" not in capfd.readouterr().err
    table = pd.read_csv(tmp_path / "sweep" / "sweep.csv")
    assert set(table["features"].dropna()) >= {"[upos]", "[number]"}
    page = (tmp_path / "sweep" / "sweep.html").read_text()
    assert "upso" in page
    assert len(list((tmp_path / "cache").glob("*/manifest.json"))) == 2  # heads and residual, once
