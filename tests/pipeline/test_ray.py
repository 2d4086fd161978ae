"""The parts of a run on an emulated cluster of two nodes: the same bytes as from one process."""

from __future__ import annotations

import importlib.util
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from probes import load_run
from tests.commands import Command
from tests.pipeline.conftest import Small, results_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
]
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
"""All of the cluster on 127.0.0.1, whatever the network of this machine."""


class TwoNodes:
    """A cluster whose second node can be killed."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        node = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 80_000_000}
        self.cluster: Any = Cluster(
            initialize_head=True, head_node_args={**node, "include_dashboard": False}
        )
        self.second: Any = self.cluster.add_node(**node)
        self.address = str(self.cluster.address)

    def start(self, small: Small, run_dir: Path, *more: str) -> Command:
        words = ("engine=ray", f"engine.address='{self.address}'")
        return small.start(run_dir, *words, *more, **LOOPBACK)


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoNodes]:
    for name, value in LOOPBACK.items():
        monkeypatch.setenv(name, value)
    nodes = TwoNodes()
    yield nodes
    nodes.cluster.shutdown()


def test_a_run_on_two_nodes(
    small: Small, two_nodes: TwoNodes, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    own_cache = f"cache_dir={tmp_path / 'cache'}"
    command = two_nodes.start(small, tmp_path / "run", own_cache)
    assert command.wait() == 0, command.text
    assert "engine=ray: 2 workers on 2 nodes" in command.text
    assert results_of(tmp_path / "run") == undisturbed
    assert load_run(tmp_path / "run").record.config["engine"]["name"] == "ray"
    assert not list((tmp_path / "cache").glob(".seen-*"))

    # A failure is told once, with node and part, and ends the command.
    failing = tmp_path / "failing.py"
    failing.write_text("def fit(*given, **options):\n    raise ZeroDivisionError('on purpose')\n")
    words = ("probe=custom", f"probe._target_='{failing}:fit'")
    command = two_nodes.start(small, tmp_path / "failed", own_cache, *words)
    assert command.wait() == 1
    last = command.text.strip().splitlines()[-1]
    assert "on node" in last and "layer" in last and last.endswith("ZeroDivisionError: on purpose")

    # An interrupt ends the tasks too.
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import pathlib, time\n"
        "def fit(*given, **options):\n"
        f"    pathlib.Path({str(tmp_path)!r}, 'begun').touch()\n"
        "    time.sleep(600)\n"
    )
    words = ("probe=custom", f"probe._target_='{slow}:fit'")
    command = two_nodes.start(small, tmp_path / "stopped", own_cache, *words)
    command.wait_for(tmp_path, "begun", seconds=300.0)
    begun = time.monotonic()
    os.kill(command.pid, signal.SIGINT)
    assert command.wait() == 130, command.text
    assert time.monotonic() - begun < 30


def test_the_jobs_of_a_sweep_on_two_nodes(
    small: Small, two_nodes: TwoNodes, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """As many jobs as workers or more: each is a task itself."""
    (tmp_path / "bad.py").write_text("def metric(*given):\n    raise ValueError('on purpose')\n")
    words = ("-m", *small.overrides, f"hydra.sweep.dir={tmp_path / 'sweep'}", "engine=ray",
             f"engine.address='{two_nodes.address}'", "seed=0,1",
             f"evaluation.metrics=[],['{tmp_path / 'bad.py'}:metric']")  # fmt: skip
    command = small.commands.start(*words, **LOOPBACK)
    assert command.wait() == 2, command.text
    assert "engine=ray: 4 jobs on 2 workers" in command.text
    runs = {load_run(run.parent).record.config["seed"]: run.parent
            for run in (tmp_path / "sweep").glob("*/run.json")}  # fmt: skip
    assert set(runs) == {0, 1} and results_of(runs[0]) == undisturbed
    lines = [line for line in command.text.splitlines() if line.startswith("job ")]
    failed = [line for line in lines if "failed: on node" in line and "on purpose" in line]
    assert len(lines) == 4 and len(failed) == 2, command.text
    assert "2 of 4 jobs finished" in command.text and "Traceback" not in command.text
    # Fewer jobs than workers: the parts of each are the tasks.
    again = small.commands.start(*words[:-2], "seed=0,1,2", "evaluation.metrics=[]", **LOOPBACK)
    assert again.wait() == 0, again.text
    assert "2 finished before" in again.text
    logs = [path.read_text() for path in (tmp_path / "sweep").glob("*/*.log")]
    assert sum("engine=ray: 2 workers on 2 nodes" in log for log in logs) == 1


def test_effects_on_two_nodes(
    edited_ioi: Small, two_nodes: TwoNodes, undisturbed_effects: Path, tmp_path: Path
) -> None:
    command = two_nodes.start(edited_ioi, tmp_path / "run")
    command.wait_for(tmp_path / "run", "parts/*.effect", 3, seconds=300.0)
    os.kill(command.pid, signal.SIGKILL)
    command.wait()
    before = list((tmp_path / "run" / "parts").glob("*.effect"))
    assert before, "the first share is stored before all are measured"
    command = two_nodes.start(edited_ioi, tmp_path / "run")
    assert command.wait() == 0, command.text
    assert f"{len(before)} parts of the effects were stored before" in command.text
    assert results_of(tmp_path / "run") == results_of(undisturbed_effects)
    # Heads that the probes choose are known to the nodes, too.
    run_dirs = [tmp_path / "whole", tmp_path / "chosen"]
    words = ("methods=[probe,ablation]", "ablation.heads=top:1")
    edited_ioi.run(run_dirs[0], *words)
    command = two_nodes.start(edited_ioi, run_dirs[1], *words)
    assert command.wait() == 0, command.text
    assert results_of(run_dirs[1]) == results_of(run_dirs[0])


@pytest.mark.long
def test_a_node_that_is_lost_while_heads_are_edited(
    edited_ioi: Small, two_nodes: TwoNodes, undisturbed_effects: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    command = two_nodes.start(edited_ioi, run_dir)
    command.wait_for(run_dir, "parts/*.effect", seconds=300.0)
    two_nodes.cluster.remove_node(two_nodes.second, allow_graceful=False)
    assert command.wait() == 0, command.text
    assert results_of(run_dir) == results_of(undisturbed_effects)


@pytest.mark.long
def test_a_node_that_is_lost_midway(
    small: Small, two_nodes: TwoNodes, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    command = two_nodes.start(small, run_dir, f"cache_dir={tmp_path / 'cache'}")
    command.wait_for(run_dir, "parts/*.part", 2, seconds=300.0)
    two_nodes.cluster.remove_node(two_nodes.second, allow_graceful=False)
    assert command.wait() == 0, command.text
    assert results_of(run_dir) == undisturbed
