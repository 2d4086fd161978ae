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
