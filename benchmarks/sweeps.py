"""What many jobs and processes cost beyond their work.

    python -m benchmarks.sweeps [--quick] [--settings overhead unchanged launcher shards]

``overhead``: ``value`` is what a job of a sweep in one process takes beyond its own work (what
``run.json`` says of its extraction, fits and report), in seconds: sweeps of few and of many jobs
are compared, so that what a command takes once (imports, the plan, the page) is left out.
``unchanged``: the same sweep of 50 jobs again, when all of them are there; ``cpu_seconds`` of the
processor beside the seconds.
``launcher``: two jobs at once (``hydra/launcher=processes``) beside the two one after the other;
``ratio`` of the times, at most 1 where two cores are free.
``shards``: a run by two processes of one thread each (``shard=0/2``, ``shard=1/2``, then
``merge``) beside one process with two threads; ``ratio`` of the times, and whether the results have
the ``same_bytes`` as those of one process with one thread.

JSON lines. Every command is a process of its own, with nothing stored before but the model. Times
mean something on a machine that does nothing else, with two cores or more.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.lines import report
from probes.results.integrity import RUN_FILES
from probes.results.record import read_record

FEW, MANY, UNCHANGED = 2, 8, 50
"""Jobs of the sweeps."""
SENTENCES, QUICK_SENTENCES = 1500, 40


class Took(NamedTuple):
    """Of commands that were run."""

    seconds: float
    cpu_seconds: float


def commands(*each: Sequence[str], directory: Path, threads: int | None = None) -> Took:
    """Run commands at the same time, in processes of their own.

    threads: of each of them; None: as it chooses itself.

    Raises:
        subprocess.CalledProcessError: one of them failed.
    """
    variables = {**os.environ, "HF_HUB_OFFLINE": "1"}
    if threads is None:
        variables.pop("OMP_NUM_THREADS", None)
    else:
        variables["OMP_NUM_THREADS"] = str(threads)
    begun, cpu = time.perf_counter(), _cpu()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "probes", *arguments],
            cwd=directory,
            env=variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for arguments in each
    ]
    errors = [process.communicate()[1] for process in processes]
    for process, error in zip(processes, errors, strict=True):
        if process.returncode:
            sys.stderr.buffer.write(error)
            raise subprocess.CalledProcessError(process.returncode, process.args)
    return Took(time.perf_counter() - begun, _cpu() - cpu)


def _cpu() -> float:
    """Seconds of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def own_work(sweep: Path) -> float:
    """The median of what the jobs' records say that they took, in seconds."""
    return statistics.median(read_record(path).seconds for path in sweep.glob("*/run.json"))


def overhead(small: Sequence[str], directory: Path) -> None:
    """A job of a sweep beyond its own work."""
    took = {}
    for jobs in (FEW, MANY):
        sweep = [f"seed=range({jobs})", f"hydra.sweep.dir=jobs-{jobs}"]
        took[jobs] = commands(["-m", *small, *sweep], directory=directory).seconds
    each = (took[MANY] - took[FEW]) / (MANY - FEW)
    own = own_work(directory / f"jobs-{MANY}")
    report("sweeps", "overhead", "headprobes", value=round(each - own, 2), seconds=round(each, 2))


def unchanged(small: Sequence[str], directory: Path) -> None:
    """A sweep in which nothing is missing."""
    command = ["-m", *small, f"seed=range({UNCHANGED})", "hydra.sweep.dir=unchanged"]
    commands(command, directory=directory)
    took = commands(command, directory=directory)
    values = {"value": UNCHANGED, "cpu_seconds": round(took.cpu_seconds, 2)}
    report("sweeps", "unchanged", "headprobes", seconds=round(took.seconds, 2), **values)


def launcher(small: Sequence[str], directory: Path) -> None:
    """Two jobs at once beside the two one after the other."""
    took = {}
    for name, more in (("one-process", []), ("processes", ["hydra.launcher.n_jobs=2"])):
        words = [f"hydra/launcher={name}"] if more else []
        sweep = ["seed=1,2", f"hydra.sweep.dir={name}", f"cache_dir=cache-{name}"]
        took[name] = commands(["-m", *small, *words, *more, *sweep], directory=directory).seconds
    ratio = round(took["processes"] / took["one-process"], 3)
    report("sweeps", "launcher", "one-process", seconds=round(took["one-process"], 2))
    report("sweeps", "launcher", "headprobes", seconds=round(took["processes"], 2), ratio=ratio)


def shards(small: Sequence[str], directory: Path) -> None:
    """Two processes beside one of two threads."""

    def run(name: str, *more: str) -> list[str]:
        return [*small, f"hydra.run.dir={name}", f"cache_dir=cache-{name}", *more]

    one = commands(run("two-threads"), directory=directory, threads=2)
    commands(run("one-thread"), directory=directory, threads=1)
    both = [run("shards", f"shard={index}/2") for index in range(2)]
    two = commands(*both, directory=directory, threads=1)
    merge = commands(["merge", "shards"], directory=directory, threads=1)
    same = all(
        (directory / "shards" / name).read_bytes() == (directory / "one-thread" / name).read_bytes()
        for name in RUN_FILES
    )
    seconds = two.seconds + merge.seconds
    report("sweeps", "shards", "one-process", seconds=round(one.seconds, 2))
    report(
        "sweeps", "shards", "headprobes",
        seconds=round(seconds, 2), ratio=round(seconds / one.seconds, 3),
        merge_seconds=round(merge.seconds, 2), same_bytes=same,
    )  # fmt: skip


SETTINGS: dict[str, Callable[[Sequence[str], Path], None]] = {
    "overhead": overhead,
    "unchanged": unchanged,
    "launcher": launcher,
    "shards": shards,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="jobs of seconds, to see that it runs")
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    given = parser.parse_args(arguments)
    sentences = QUICK_SENTENCES if given.quick else SENTENCES
    # Jobs whose cost is counted are small; what is compared with more processes is not.
    jobs = [f"corpus.sentences={QUICK_SENTENCES}", "features=[upos]", "trainer=cpu"]
    work = [f"corpus.sentences={sentences}", "trainer=cpu"]
    for name in given.settings:
        with tempfile.TemporaryDirectory() as directory:
            small = jobs if name in ("overhead", "unchanged") else work
            SETTINGS[name]([*small, "trainer.progress=false"], Path(directory))


if __name__ == "__main__":
    main()
