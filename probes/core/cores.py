"""How many cores this process may use: by its affinity and its control group, not by what there is.

A batch system or a container gives a job some of a machine's cores. Libraries that start a thread
for each core of the machine make such a job many times slower.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
THREADS = "OMP_NUM_THREADS"


def available_cores(cgroup: Path = CGROUP, of_process: Path = Path("/proc/self/cgroup")) -> int:
    """Cores that this process may use, at least 1.

    The least of its affinity (which Slurm and ``taskset`` set) and the quotas of its control groups
    (which containers set), rounded up.
    """
    try:
        affinity = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        affinity = os.cpu_count() or 1
    return max(1, min([affinity, *(math.ceil(quota) for quota in _quotas(cgroup, of_process))]))


def limit_threads() -> None:
    """Let OpenMP's threads, so torch's, be no more than the cores there are; before torch is
    imported.

    Threads follow the affinity by themselves, but not a quota. What the user has set stays.
    """
    if THREADS in os.environ:
        return
    try:
        affinity = len(os.sched_getaffinity(0))
    except AttributeError:
        return
    cores = available_cores()
    if cores < affinity:
        os.environ[THREADS] = str(cores)


def _quotas(cgroup: Path, of_process: Path) -> Iterator[float]:
    """Cores by the quota of each control group that this process is in, of versions 1 and 2."""
    try:
        lines = of_process.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = cgroup / "cpu" if controllers else cgroup
        own = root / path.lstrip("/")
        for group in (own, *own.parents):
            yield from _quota(group)
            if group == root:
                break


def _quota(group: Path) -> Iterator[float]:
    try:
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text().split()[:2]
        else:
            quota = (group / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu.cfs_period_us").read_text()
        if int(quota) > 0:
            yield int(quota) / int(period)
    except (OSError, ValueError):  # no such file, or "max"
        return
