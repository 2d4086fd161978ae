"""One command line: runs, verbs, the version, and what is said to a word that is neither."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from probes.cli import commands as cli
from probes.core.version import __version__
from tests.conftest import PROJECT

HEAVY = "{'torch', 'pandas', 'numpy', 'matplotlib', 'hydra', 'omegaconf'}"


def test_the_version_is_quick() -> None:
    code = (
        "import sys; from probes.cli.commands import run_command; run_command(['--version']); "
        f"print({HEAVY} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"headprobes {__version__}", "set()"]


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.run_command([verb, "--help"])
    assert ended.value.code == 0
    assert f"usage: headprobes {verb}" in capsys.readouterr().out


def test_a_word_that_is_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_command(["comapre", "a", "b"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: comapre: neither a command nor KEY=VALUE; allowed: run, atlas")
    assert "Try headprobes compare" in error


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (["features=[upos]"], ["features=[upos]"]),
        (["run", "features=[upos]"], ["features=[upos]"]),
        (["atlas", "model=gpt2"], ["experiment=atlas", "model=gpt2"]),
        (["-m", "seed=1,2"], ["-m", "seed=1,2"]),
        (["help"], ["--help"]),
        ([], []),
    ],
)
def test_runs_are_made_of_overrides(
    arguments: list[str], given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def run(overrides: list[str]) -> int:
        seen.append(overrides)
        return 0

    monkeypatch.setattr("probes.cli.run.run", run)
    assert cli.run_command(arguments) == 0
    assert seen == [given]


def test_a_module_alone_lists_its_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "probes"], capture_output=True, text=True, cwd=PROJECT
    )
    assert done.returncode == 2
    assert all(f"  {name} " in done.stderr for name in (*cli.RUNS, *cli.VERBS))


def test_a_sweep_without_jobs_gets_its_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run_command(["sweep", str(tmp_path)]) == 0
    assert "0 of 0 jobs finished" in capsys.readouterr().out
    assert (tmp_path / "sweep.html").is_file() and (tmp_path / "sweep.csv").is_file()
    assert cli.run_command(["sweep", str(tmp_path / "nowhere")]) == 2
