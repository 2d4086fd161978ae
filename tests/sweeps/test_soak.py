"""Many jobs in one process, some of them failing or killed: each result once, nothing piles up."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

SCRIPT = """
import json, os, signal, sys, threading
from hydra.core.global_hydra import GlobalHydra
from probes.cli.run import run
from probes.core.errors import UserError
import probes.pipeline.run as pipeline

jobs, fates = int(sys.argv[1]), {int(seed): fate for seed, fate in json.loads(sys.argv[2]).items()}
real, begun, done, statuses = pipeline.run_prepared, [], [], []

def run_prepared(prepared, run_dir):
    if prepared.config.until == "extraction":
        return real(prepared, run_dir)
    memory = int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    level = (memory, len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd")))
    begun.append((prepared.config.seed, *level))
    fate = fates.pop(prepared.config.seed, None)
    if fate == "mistake":
        raise UserError("a mistake")
    if fate == "bug":
        raise ValueError("a bug")
    if fate == "killed":
        os.kill(os.getpid(), signal.SIGTERM)
    real(prepared, run_dir)
    done.append(prepared.config.seed)

pipeline.run_prepared = run_prepared
while not statuses or statuses[-1]:
    GlobalHydra.instance().clear()
    statuses.append(run(["-m", "debug=default", "corpus.sentences=40", "features=[upos]",
                         "trainer.progress=false", "trainer=cpu", f"seed=range({jobs})",
                         "sweep=soak"]))
    assert len(statuses) < 20
print(json.dumps({"begun": begun, "done": done, "statuses": statuses}))
"""


def soak(directory: Path, jobs: int, fates: dict[int, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(jobs), json.dumps(fates)],
        cwd=directory,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    kills = sum(fate == "killed" for fate in fates.values())
    # Each kill ends one command; one more meets the failures, if any, and the last all the rest.
    assert told["statuses"].count(143) == kills and told["statuses"][-1] == 0
    assert len(told["statuses"]) <= kills + 2
    assert Counter(told["done"]) == Counter(range(jobs))  # every result once
    again = Counter(seed for seed, *_ in told["begun"])
    assert again == Counter(range(jobs)) + Counter(fates.keys())  # and no work but theirs twice
    sweep = directory / "outputs" / "sweeps" / "soak"
    assert len(list(sweep.glob("*/run.json"))) == jobs
    assert not list(sweep.glob("*/error.json"))
    quarter = len(told["begun"]) // 4
    for place, name, slack in ((1, "memory", 30e6), (2, "threads", 2), (3, "open files", 4)):
        levels = [row[place] for row in told["begun"]]
        early = statistics.median(levels[quarter : 2 * quarter])
        late = statistics.median(levels[-quarter:])
        assert late <= early * 1.05 + slack, (name, early, late)


@pytest.mark.slow
def test_a_dozen_jobs(tmp_path: Path) -> None:
    soak(tmp_path, 12, {2: "killed", 5: "bug", 8: "mistake"})


@pytest.mark.long
def test_two_hundred_jobs_of_which_one_in_twenty_fails_or_is_killed(tmp_path: Path) -> None:
    fates = ("killed", "bug", "mistake")
    soak(tmp_path, 200, {seed: fates[seed % 3] for seed in range(7, 200, 20)})
