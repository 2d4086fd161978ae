"""The example of a W&B sweep, driven by the command line that an agent of W&B builds from it."""

from __future__ import annotations

import itertools
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

from probes.cli.job import parse
from probes.cli.overrides import composed
from probes.config.checks import check
from probes.core.errors import UserError
from probes.core.overrides import quoted
from probes.reporting.tracking.running_best import OBJECTIVE
from probes.reporting.tracking.wandb_start import check_agent
from probes.results.objective import check_objective, objective_of
from probes.results.table import read_results
from tests.conftest import PROJECT
from tests.reporting.tracking.conftest import clean_wandb
from tests.reporting.tracking.wandb_files import read_back
from tests.tiny_handles import llama_directory

__all__ = ["clean_wandb", "llama_directory"]

FILE = PROJECT / "examples" / "wandb_sweep.yaml"
SWEEP: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
RUN_ID = "abcd1234"


def choices(parameter: dict[str, Any]) -> list[Any]:
    """Values that W&B may choose: all of a list, the ends of a range."""
    return list(parameter.get("values") or (parameter["min"], parameter["max"]))


CHOSEN = [
    dict(zip(SWEEP["parameters"], values, strict=True))
    for values in itertools.product(*map(choices, SWEEP["parameters"].values()))
]


class Started:
    """What an agent starts, instead of starting it."""

    def __init__(self, command: list[str], env: dict[str, str], **_: object) -> None:
        self.command = command
        self.env = {name: value for name, value in env.items() if name != "WANDB_SERVICE"}


@pytest.fixture
def started(
    clean_wandb: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:  # a function of the chosen values
    """The process that an agent starts, by the agent's own code."""
    from wandb import wandb_agent

    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep123")
    monkeypatch.setenv("WANDB_PROJECT", SWEEP["project"])
    for name in ("WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH"):  # set by the agent for the process
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(wandb_agent, "AgentProcess", Started)

    def start(values: dict[str, Any]) -> Started:
        agent: Any = object.__new__(wandb_agent.Agent)  # its __init__ asks the server for work
        agent._sweep_command = list(SWEEP["command"])
        agent._function, agent._in_jupyter, agent._forward_signals = None, False, False
        agent._run_processes = {}
        arguments = {name: {"value": value} for name, value in values.items()}
        agent._command_run({"run_id": RUN_ID, "program": SWEEP["program"], "args": arguments})
        process = agent._run_processes[RUN_ID]
        assert isinstance(process, Started)
        return process

    return start


def overrides_of(process: Started) -> list[str]:
    environment, interpreter, program, *overrides = process.command
    assert (environment, interpreter, program) == ("/usr/bin/env", "python", "train.py")
    return overrides


@pytest.mark.parametrize("values", CHOSEN, ids=str)
def test_every_choice_is_a_run(started: Any, values: dict[str, Any]) -> None:
    cfg = composed(overrides_of(started(values)))
    config = parse(cfg).run_config()
    check(config)
    check_objective(config.objective)
    for name, value in values.items():
        assert getattr(config.probe, name.removeprefix("probe.")) == value
    assert config.logger.name == "wandb"


def test_it_maximises_what_runs_log_on_validation() -> None:
    assert SWEEP["metric"] == {"name": OBJECTIVE, "goal": "maximize"}
    assert SWEEP["early_terminate"]["type"] == "hyperband"
    assert (PROJECT / SWEEP["program"]).is_file()
    assert SWEEP["command"][-1] == "${args_no_hyphens}"


def agents_run(process: Started, llama_directory: Path, tmp_path: Path) -> Any:
    """Run the command of an agent on a tiny model; only what makes it small is added."""
    small = [
        "model=hf", f"model.name={quoted(str(llama_directory))}", "corpus.sentences=40",
        "min_count=2", "evaluation.bootstrap=10", "trainer.progress=false", "probe.epochs=2",
        "evaluation.control=false", "baseline.residual=none", "baseline.all_heads=none",
        f"cache_dir={quoted(str(tmp_path / 'cache'))}",
    ]  # fmt: skip
    python = [sys.executable, str(PROJECT / "train.py")]
    return subprocess.run(
        [*process.command[:1], *python, *process.command[3:], *small],
        env=process.env, cwd=tmp_path, capture_output=True, text=True, timeout=300,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.slow  # a command from its start
def test_a_run_of_an_agent(started: Any, llama_directory: Path, tmp_path: Path) -> None:
    values = {**CHOSEN[0], "seed": 5, "probe": "mlp"}
    process = started(values)
    # The command names the probe, too, as the file's does.
    done = agents_run(process, llama_directory, tmp_path)
    assert done.returncode == 0, done.stderr
    run_dir = tmp_path / "outputs" / "wandb" / RUN_ID
    found = read_back(run_dir)
    assert (found["id"], found["project"]) == (RUN_ID, SWEEP["project"])
    for name, value in values.items():
        assert found["config"][name] == value, "what the agent has set stays as it has set it"
    assert found["config"]["composed"]["probe"]["hidden"] == CHOSEN[0]["probe.hidden"]
    curve = [row["objective"] for row in found["rows"] if "objective" in row]
    assert len(curve) >= 2, "what early termination compares"
    assert found["summary"]["objective"] == pytest.approx(
        objective_of(read_results(run_dir / "results.csv"))
    )
    assert "Ignoring" not in done.stdout + done.stderr, "W&B has nothing to complain of"


def test_an_agent_starts_one_run_a_process(
    clean_wandb: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep123")
    (tmp_path / ".hydra").mkdir()
    for mode, refused in (("RUN", False), ("MULTIRUN", True)):
        (tmp_path / ".hydra" / "hydra.yaml").write_text(f"hydra: {{mode: {mode}}}")
        with pytest.raises(UserError, match="one run a process") if refused else nullcontext():
            check_agent(tmp_path)
    monkeypatch.delenv("WANDB_SWEEP_ID")
    check_agent(tmp_path)
