"""Launchers that are extras: what is done about them here, and each of them for real."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import threading
from pathlib import Path

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from probes.config import RunConfig, register
from probes.config.files import config_dir
from probes.config.run import EngineConfig
from probes.core.claims import holder
from probes.core.cores import THREADS
from probes.core.errors import UserError
from probes.sweeps import launchers
from probes.sweeps.plan import PlannedJob
from probes.sweeps.ray_jobs import on_cluster
from tests.commands import Commands

CHOICES = [
    *(("launcher", file.stem) for file in (config_dir() / "hydra" / "launcher").glob("*.yaml")),
    *(("sweeper", file.stem) for file in (config_dir() / "hydra" / "sweeper").glob("*.yaml")),
]


def node_of(group: str, choice: str) -> DictConfig:
    GlobalHydra.instance().clear()
    register()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("config", [f"hydra/{group}={choice}"], return_hydra_config=True)
    node = config.hydra[group]
    assert isinstance(node, DictConfig)
    return node


@pytest.mark.parametrize(("group", "choice"), sorted(CHOICES))
def test_every_config_composes_and_names_a_plugin_that_is_known(group: str, choice: str) -> None:
    known = launchers.plugin_of(node_of(group, choice))
    assert known is not None and known[1].choice == f"hydra/{group}={choice}"


@pytest.mark.parametrize(("group", "choice"), sorted(CHOICES))
def test_a_plugin_that_is_not_installed_is_told_with_its_extra(
    group: str, choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = node_of(group, choice)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=rf"hydra/{group}={choice}: its package is not installed"):
        launchers.check_installed(node)
    launchers.check_installed(OmegaConf.create({"_target_": "hydra._internal.core_plugins.X"}))


@pytest.mark.parametrize(
    ("choice", "asked", "jobs", "cores", "threads"),
    [
        ("processes", -1, 2, 8, "4"),
        ("processes", 4, 10, 8, "2"),
        ("processes", 4, 3, 8, "2"),
        ("processes", 16, 20, 8, "1"),
        ("slurm_here", None, 3, 8, "2"),
        ("slurm", None, 3, 8, None),
    ],
)
def test_jobs_on_this_machine_share_its_cores(
    monkeypatch: pytest.MonkeyPatch,
    choice: str,
    asked: int | None,
    jobs: int,
    cores: int,
    threads: str | None,
) -> None:
    node = node_of("launcher", choice)
    if asked is not None:
        node.n_jobs = asked
    monkeypatch.delenv(THREADS, raising=False)
    monkeypatch.setattr(launchers, "available_cores", lambda: cores)
    with launchers.shared_cores(node, jobs):
        assert os.environ.get(THREADS) == threads
    assert THREADS not in os.environ
    monkeypatch.setenv(THREADS, "3")  # the user's own choice
    with launchers.shared_cores(node, jobs):
        assert os.environ[THREADS] == "3"


def test_submitit_gets_as_many_jobs_as_the_cores_have_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(launchers, "available_cores", lambda: 4)
    node, jobs = node_of("launcher", "slurm_here"), [[f"seed={i}"] for i in range(10)]
    node.cpus_per_task = 2
    portions = launchers.batches(node, jobs)
    assert [len(portion) for portion in portions] == [2] * 5
    assert [job for portion in portions for job in portion] == jobs
    assert launchers.batches(node_of("launcher", "slurm"), jobs) == [jobs]


@pytest.mark.parametrize("choice", ["ray_nodes", "processes"])
def test_jobs_of_ray_ask_for_no_tasks_of_ray(choice: str) -> None:
    """However the engine was chosen: by a config file, or for some of the jobs alone."""
    configs = [RunConfig(), RunConfig(engine=EngineConfig(name="ray"))]
    jobs = [PlannedJob(i, (), "missing", Path(str(i)), config=c) for i, c in enumerate(configs)]
    node = node_of("launcher", choice)
    if choice == "processes":
        with on_cluster(jobs, node, here=False) as engine:
            assert engine is None
        return
    with on_cluster(jobs[:1], node, here=False) as engine:
        assert engine is None
    with (
        pytest.raises(UserError, match="engine=ray and hydra/launcher=ray_nodes") as caught,
        on_cluster(jobs, node, here=False),
    ):
        pass
    assert "engine=local" in caught.value.fix


@pytest.fixture(scope="module")
def small(
    commands: Commands, llama_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[str]:
    """Overrides of a sweep of jobs of a second, which find their activations in one place."""
    cache_dir = tmp_path_factory.mktemp("cache")
    return ["-m", "model=hf", f"model.name={llama_directory}", f"cache_dir={cache_dir}",
            "corpus.sentences=60", "features=[upos]", "min_count=5", "evaluation.bootstrap=20",
            "trainer.progress=false"]  # fmt: skip


@pytest.fixture(scope="module")
def plain(
    commands: Commands, small: list[str], tmp_path_factory: pytest.TempPathFactory
) -> pd.DataFrame:
    """The table of a sweep of one job in one process; the others need no process to extract."""
    directory = tmp_path_factory.mktemp("plain")
    commands.run(*small, "seed=1", f"hydra.sweep.dir={directory}")
    return pd.read_csv(directory / "sweep.csv", dtype=str)


def kill_whoever_holds(directory: Path, times: int, ended: threading.Event) -> None:
    """Kill processes that have begun a job there, as the system does where memory is short."""
    killed: set[int] = set()
    while len(killed) < times and not ended.wait(0.002):
        begun = (directory / ".hydra" / "config.yaml").is_file()
        name = re.match(r"process (\d+) on", holder(directory)) if begun else None
        if name and (pid := int(name[1])) not in killed:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["processes", "slurm_here"])
def test_jobs_in_other_processes_have_the_results_of_one_process(
    tmp_path: Path, launcher: str, commands: Commands, small: list[str], plain: pd.DataFrame
) -> None:
    pytest.importorskip(
        "hydra_plugins.hydra_joblib_launcher"
        if launcher == "processes"
        else "hydra_plugins.hydra_submitit_launcher"
    )
    words = ("seed=1,2", f"hydra/launcher={launcher}", f"hydra.sweep.dir={tmp_path}")
    sweep = commands.start(*small, *words, OMP_NUM_THREADS="1", SUBMITIT_PATIENCE="1")
    ended = threading.Event()
    killer = threading.Thread(target=kill_whoever_holds, args=(tmp_path / "1", 2, ended))
    killer.start()
    status = sweep.wait()
    ended.set()
    killer.join()
    assert status == 2, sweep.text
    assert "1 of 2 jobs finished" in sweep.text
    assert sweep.text.count("its process was killed") >= 1
    both = pd.read_csv(tmp_path / "sweep.csv", dtype=str)
    assert list(both.loc[both["status"] == "failed", "seed"]) == ["2"]
    columns = ["feature", "site", "probe", "layer", "head", "split", "metric", "value"]
    pd.testing.assert_frame_equal(
        both.loc[both["status"] == "finished", columns].reset_index(drop=True),
        plain[columns].reset_index(drop=True),
    )


def test_slurm_is_given_a_job_array(tmp_path: Path, commands: Commands, small: list[str]) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (
        ("srun", "exit 0"),
        ("sbatch", f'cp "$1" {tmp_path}/submitted.sh; echo "no such partition" >&2; exit 1'),
    ):
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    sweep = commands.start(
        *small,
        *("seed=1,2,3", "layers=[0],[1]", f"hydra.sweep.dir={tmp_path / 'sweep'}"),
        *("hydra/launcher=slurm", "hydra.launcher.partition=gpu", "hydra.launcher.gpus_per_node=1"),
        *("hydra.launcher.mem_gb=16", "hydra.launcher.array_parallelism=2", "disk_budget=1GB"),
        PATH=f"{programs}:{os.environ['PATH']}",
    )
    assert sweep.wait() != 0 and "no such partition" in sweep.text
    script = (tmp_path / "submitted.sh").read_text()
    for line in ("--array=0-5%2", "--partition=gpu", "--gpus-per-node=1", "--mem=16GB",
                 "--cpus-per-task=8", "--time=240", "--signal=USR2@120"):  # fmt: skip
        assert f"#SBATCH {line}" in script, script
    assert "submitit.core._submit" in script
