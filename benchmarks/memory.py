"""Time and memory of extraction against the number of rows: the memory must not grow with it.

    python -m benchmarks.memory [--quick] [--rows 10000 100000 1000000]

Each number of rows runs in a process of its own, on the smallest real model at hand, every word a
row. ``peak_mb`` is the highest resident memory of the extraction above what the process held with
model and corpus loaded (the texts themselves are the user's), and ``anonymous_mb`` that without
pages of files, which the system takes back when it needs them; ``seconds`` is the extraction,
``ratio`` its time relative to the first. A last line gives the slopes: seconds and megabytes per
million rows.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.lines import report
from benchmarks.shapes import LoadedHandle, available, corpus_of, open_setting
from probes.corpora.corpus import Corpus, Units

ANONYMOUS, SAMPLED_SECONDS = "RssAnon", 0.01
"""Memory that is no file's, and how often it is looked at."""
FULL, QUICK = [10_000, 100_000, 1_000_000], [2_000, 10_000]
"""Rows."""


def reset_peak() -> None:
    """Let the kernel forget the highest resident memory so far."""
    Path("/proc/self/clear_refs").write_text("5")


def resident_mb(field: str = "VmRSS") -> float:
    """Resident memory now, or with ``VmHWM`` the highest since ``reset_peak``."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


class Measured(NamedTuple):
    """What a call took."""

    seconds: float
    peak_mb: float
    """Of resident memory, above the start."""
    anonymous_mb: float
    """The same without pages of files, which the system takes back when it needs them."""


def peak_above(run: Callable[[], object]) -> Measured:
    """Call ``run``: its seconds, and the peaks of its memory above the start."""
    before, held = resident_mb(), resident_mb(ANONYMOUS)
    highest, done = [held], threading.Event()

    def sample() -> None:  # the kernel keeps a peak of all pages only
        while not done.wait(SAMPLED_SECONDS):
            highest.append(max(highest.pop(), resident_mb(ANONYMOUS)))

    sampler = threading.Thread(target=sample, daemon=True)
    reset_peak()
    sampler.start()
    start = time.perf_counter()
    try:
        run()
        seconds = time.perf_counter() - start
    finally:
        done.set()
        sampler.join()
    anonymous = max(highest[0], resident_mb(ANONYMOUS)) - held
    return Measured(seconds, resident_mb("VmHWM") - before, anonymous)


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A directory below ``outputs``, not /tmp: that may be memory, and the disk is measured."""
    outputs = Path(__file__).resolve().parents[1] / "outputs"
    outputs.mkdir(exist_ok=True)
    return tempfile.TemporaryDirectory(dir=outputs, prefix="benchmark-")


def apart(run: Callable[..., Any], *arguments: Any) -> Any:
    """``run(*arguments)`` in a process of its own, where nothing has been allocated before.

    It forks from a server that has imported everything and computed nothing: importing torch anew
    for each measurement would take longer than most of them.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.scaling_points", "probes.activations.extraction"])
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(run, *arguments).result()


def smallest() -> str:
    """The smallest real model at hand."""
    return "minilm" if available("stories260K") else "stories260K"


def with_rows(rows: int) -> Corpus:
    """A corpus of that many words: the texts of ``corpus_of`` over and over, numbered apart."""
    base = corpus_of(2000)
    times = -(-rows // len(base.units))
    texts = [f"{copy} {text}" for copy in range(times) for text in base.texts]
    shifts = [len(f"{copy} ") for copy in range(times)]
    units = Units(
        example=_tiled(base.units.example, np.arange(times) * len(base.texts))[:rows],
        start=_tiled(base.units.start, np.array(shifts))[:rows],
        end=_tiled(base.units.end, np.array(shifts))[:rows],
        level=np.tile(base.units.level, times)[:rows],
    )
    used = int(units.example[-1]) + 1
    return dataclasses.replace(
        base,
        texts=tuple(texts[:used]),
        groups=tuple(str(number) for number in range(used)),
        splits=np.zeros(used, dtype=np.int8),
        units=units,
        features={},
        default_features=(),
    )


def measure(rows: int, setting: str, threads: int) -> dict[str, Any]:
    """One extraction in this process."""
    from probes.activations.extraction import extract

    torch.set_num_threads(threads)
    corpus = with_rows(rows)
    found: dict[str, Any] = {}
    with scratch() as directory:
        handle: LoadedHandle = open_setting(setting, corpus, Path(directory))
        warm = dataclasses.replace(corpus_of(20), features={}, default_features=())
        extract(handle, warm, cache_dir=Path(directory) / "warm")
        measured = peak_above(
            lambda: found.update(extract(handle, corpus, cache_dir=Path(directory) / "cache"))
        )
        cache = found["heads"]
        return {
            "rows": cache.n_rows,
            "cache_mb": round(cache.n_bytes / 2**20),
            "seconds": round(measured.seconds, 3),
            "peak_mb": round(measured.peak_mb, 1),
            "anonymous_mb": round(measured.anonymous_mb, 1),
            "threads": threads,
        }


def _tiled(values: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    return (values + shifts[:, None]).ravel().astype(np.int32)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rows, within a minute")
    parser.add_argument("--rows", nargs="+", type=int, default=FULL)
    given = parser.parse_args(arguments)
    rows = QUICK if given.quick else given.rows
    setting, lines = smallest(), []
    for number in rows:
        lines.append(apart(measure, number, setting, torch.get_num_threads()))
        ratio = lines[-1]["seconds"] / lines[0]["seconds"]
        report("memory", setting, "headprobes", **lines[-1], ratio=round(ratio, 3))
    if len(lines) > 1:
        counts = [line["rows"] for line in lines]
        slopes = {
            name: round(float(np.polyfit(counts, [x[name] for x in lines], 1)[0]) * 1e6, 3)
            for name in ("seconds", "peak_mb", "anonymous_mb")
        }
        report(
            "memory",
            setting,
            "headprobes",
            **{f"{name}_per_million_rows": slope for name, slope in slopes.items()},
        )


if __name__ == "__main__":
    main()
