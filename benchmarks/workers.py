"""How the time of one run falls with workers, simulated from the measured seconds of its parts.

    python -m benchmarks.workers runs/one --start 15 --extract 40 --rest 8

``runs/one`` was made by shards (``shard=0/2``, ...), whose parts are still there. start: seconds
until a worker has opened texts, model and activations. extract: of all rows in one worker. rest:
what one process does at the end (tests over the map, pages). Parts are handed out as ``engine=ray``
does, the dearest first, with ``--overhead`` seconds each. Prints a JSON line for each number of
workers.
"""

from __future__ import annotations

import argparse
import heapq
import json
from collections.abc import Sequence
from pathlib import Path

from probes.evaluation.part_result import read_part


def makespan(seconds: Sequence[float], workers: int) -> float:
    """When the last worker ends, if each takes the dearest part that is left.

    >>> makespan([4, 3, 2, 1], 2), makespan([4, 3, 2, 1], 1), makespan([4, 1], 8)
    (5.0, 10.0, 4.0)
    """
    free = [0.0] * workers
    for part in sorted(seconds, reverse=True):
        heapq.heapreplace(free, free[0] + part)
    return max(free)


def growth(
    parts: Sequence[float], workers: int, *, start: float, extract: float, rest: float
) -> dict[str, float]:
    """Seconds of the phases with so many workers, and the speed against one."""
    fits = makespan(parts, workers)
    total = start + extract / workers + fits + rest
    alone = start + extract + sum(parts) + rest
    return {
        "workers": workers,
        "start": start,
        "extract": round(extract / workers, 1),
        "fits": round(fits, 1),
        "rest": rest,
        "total": round(total, 1),
        "speed": round(alone / total, 2),
        "does_not_scale": round((start + rest) / total, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    for name, default in (("start", 15.0), ("extract", 40.0), ("rest", 8.0), ("overhead", 0.25)):
        parser.add_argument(f"--{name}", type=float, default=default)
    given = parser.parse_args()
    files = sorted(given.run.glob("shard_*_of_*/parts/*.part"))
    parts = [read_part(path.read_bytes(), path)[0].seconds + given.overhead for path in files]
    for workers in (1, 2, 4, 8):
        line = growth(parts, workers, start=given.start, extract=given.extract, rest=given.rest)
        print(json.dumps({**line, "parts": len(parts)}))


if __name__ == "__main__":
    main()
