"""Cores by affinity and control group."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from probes.core import cores

AFFINITY = 8


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(AFFINITY)))


@pytest.mark.parametrize(
    ("files", "lines", "expected"),
    [
        ({}, "0::/\n", 8),
        ({"cpu.max": "max 100000"}, "0::/\n", 8),
        ({"cpu.max": "200000 100000"}, "0::/\n", 2),
        ({"cpu.max": "150000 100000"}, "0::/\n", 2),
        ({"cpu.max": "1000 100000"}, "0::/\n", 1),
        ({"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b\n", 3),
        ({"a/b/cpu.max": "damaged"}, "0::/a/b\n", 8),
        ({"cpu/job/cpu.cfs_quota_us": "400000\n", "cpu/job/cpu.cfs_period_us": "100000\n"},
         "4:memory:/job\n3:cpu,cpuacct:/job\n", 4),
        ({"cpu/job/cpu.cfs_quota_us": "-1\n", "cpu/job/cpu.cfs_period_us": "100000\n"},
         "3:cpu,cpuacct:/job\n", 8),
        ({"cpu.max": "6400000 100000"}, "0::/\n", 8),
    ],
)  # fmt: skip
def test_the_least_of_affinity_and_quotas(
    tmp_path: Path, files: dict[str, str], lines: str, expected: int
) -> None:
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "self").write_text(lines)
    assert cores.available_cores(tmp_path / "cgroup", tmp_path / "self") == expected


@pytest.mark.parametrize(
    ("available", "set_by_user", "expected"), [(2, None, "2"), (8, None, None), (2, "5", "5")]
)
def test_threads_are_limited_by_a_quota_unless_the_user_has_set_them(
    monkeypatch: pytest.MonkeyPatch,
    available: int,
    set_by_user: str | None,
    expected: str | None,
) -> None:
    environment = {} if set_by_user is None else {cores.THREADS: set_by_user}
    with monkeypatch.context() as patch:  # of its own: what it sets is not taken for what was there
        patch.setattr(os, "environ", environment)
        patch.setattr(cores, "available_cores", lambda: available)
        cores.limit_threads()
    assert environment.get(cores.THREADS) == expected


def test_affinity_of_a_process() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from probes.core.cores import available_cores; print(available_cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
