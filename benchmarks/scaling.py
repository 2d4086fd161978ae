"""Time and memory against rows, heads, classes, layers and replicas: straight lines?

    python -m benchmarks.scaling [--quick] [--axes rows heads ...] [--rounds 3]

One axis at a time, the others held at ``BASE``. ``rows`` to ``replicas`` (problems x penalties a
head) are the fit stage of a run with default penalties, on a generated cache of float16: reading,
fitting and the trainer around it. ``extraction`` is the extraction of so many words from the
smallest real model at hand, beginning with the texts and ending with a cache on disk.

JSON lines: one a point, where ``value`` is the size along the axis, ``seconds`` the median of the
rounds, which go through all points in turn, ``ratio`` the time relative to the first point, and
``peak_mb`` the resident memory above what the process held before, ``anonymous_mb`` that without
pages of files, which the system takes back when it needs them. Each measurement has a process
of its own: memory that an allocator keeps would hide growth. A last line an axis has the ``slope``
of log seconds on log value (1: proportional; less where fixed costs weigh), the straight line
(``seconds_each``, ``seconds_fixed``, its ``r2``), ``peak_mb_each`` and ``anonymous_mb_each``.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import memory
from benchmarks.lines import report
from benchmarks.memory import Measured
from benchmarks.scaling_points import PENALTIES, Shape, fit_point, write_cache

BASE = Shape(rows=8_000, heads=12, classes=4, layers=2, replicas=PENALTIES)
AXES: dict[str, tuple[int, ...]] = {
    "rows": (4_000, 8_000, 16_000, 32_000, 64_000),
    "heads": (6, 12, 24, 48, 96),
    "classes": (3, 6, 12, 24, 48),
    "layers": (1, 2, 4, 8, 16),
    "replicas": tuple(PENALTIES * problems for problems in (1, 2, 4, 8, 16)),
    "extraction": (5_000, 10_000, 20_000, 40_000, 80_000),
}
QUICK_BASE = replace(BASE, rows=2_000, heads=4, layers=1)
QUICK_AXES: dict[str, tuple[int, ...]] = {
    "rows": (1_000, 4_000, 16_000),
    "heads": (2, 8, 16),
    "classes": (3, 8, 20),
    "layers": (1, 2, 4),
    "replicas": tuple(PENALTIES * problems for problems in (1, 4, 8)),
    "extraction": (500, 1_000, 2_000),
}
Point = Callable[[], Measured]


def points(axis: str, values: Sequence[int], base: Shape, directory: Path) -> dict[int, Point]:
    """What to call, again and again, for each value."""
    threads = torch.get_num_threads()
    if axis == "extraction":
        return {words: partial(_extracted, words, threads) for words in values}
    shapes = {value: replace(base, **{axis: value}) for value in values}
    return {
        value: partial(
            memory.apart, fit_point, shape, write_cache(shape, directory / str(value)), threads
        )
        for value, shape in shapes.items()
    }


def _extracted(words: int, threads: int) -> Measured:
    line = memory.apart(memory.measure, words, memory.smallest(), threads)
    return Measured(line["seconds"], line["peak_mb"], line["anonymous_mb"])


def measure(axis: str, values: Sequence[int], base: Shape, rounds: int) -> None:
    """One axis: a line a point, and the slopes."""
    with memory.scratch() as directory:
        runs = points(axis, values, base, Path(directory))
        found: dict[int, list[Measured]] = {value: [] for value in values}
        for _ in range(rounds):
            for value, run in runs.items():
                found[value].append(run())
    seconds = [statistics.median(one.seconds for one in found[value]) for value in values]
    peaks = [max(one.peak_mb for one in found[value]) for value in values]
    anonymous = [max(one.anonymous_mb for one in found[value]) for value in values]
    for value, median, peak, own in zip(values, seconds, peaks, anonymous, strict=True):
        report(
            "scaling",
            axis,
            "headprobes",
            value=value,
            seconds=round(median, 4),
            ratio=round(median / seconds[0], 3),
            peak_mb=round(peak, 1),
            anonymous_mb=round(own, 1),
            rounds=rounds,
            threads=torch.get_num_threads(),
        )
    report("scaling", axis, "headprobes", **slopes(values, seconds, peaks, anonymous))


def slopes(
    values: Sequence[float],
    seconds: Sequence[float],
    peaks: Sequence[float],
    anonymous: Sequence[float],
) -> dict[str, Any]:
    """The straight lines through the points of an axis, and how straight the one of time is."""
    x, y = np.asarray(values, dtype=float), np.asarray(seconds, dtype=float)
    each, fixed = np.polyfit(x, y, 1)
    return {
        "slope": round(float(np.polyfit(np.log(x), np.log(y), 1)[0]), 3),
        "seconds_each": float(f"{each:.3g}"),
        "seconds_fixed": float(f"{fixed:.3g}"),
        "r2": round(float(np.corrcoef(x, y)[0, 1] ** 2), 4),
        "peak_mb_each": float(f"{np.polyfit(x, peaks, 1)[0]:.3g}"),
        "anonymous_mb_each": float(f"{np.polyfit(x, anonymous, 1)[0]:.3g}"),
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, within a minute")
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES))
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(arguments)
    base, axes = (QUICK_BASE, QUICK_AXES) if given.quick else (BASE, AXES)
    for axis in given.axes:
        measure(axis, axes[axis], base, given.rounds)


if __name__ == "__main__":
    main()
