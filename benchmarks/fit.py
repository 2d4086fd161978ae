"""Time of exact probe fits beside the tools a user would pick instead, as JSON lines.

    python -m benchmarks.fit [--quick] [--settings A A-hard B C] [--rounds 3] [--no-slow]

Settings (rows x d_head, two threads for everybody):
A       one binary fit a head at l2=1 on 4,734 x 128: MiniLM on TruthfulQA answers, four
        neighbouring heads side by side (generated rows where that corpus is not at hand)
A-hard  the same shape, correlated heavy-tailed rows whose heads go from noisy to separable
B       51 fits a head on A: 5 folds by question x 10 penalties, and a control task
C       UPOS, 17 classes, 50,000 words of EWT x 32
``seconds`` are per head, median over alternating rounds; ``gap`` is the largest relative gap to a
float64 optimum, ``ratio`` the time relative to the fastest peer, ``floor`` (ours) the time of the
products that no method of this kind avoids, measured in the same run.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks import fit_peers as peers
from benchmarks.fit_settings import SETTINGS, Setting, make
from benchmarks.lines import report
from probes.solver import fit_logistic

MISSING = {
    "probelab": "not on the package index; its published loop is sklearn-naive",
    "probekit": "not on the package index",
}
Contestant = tuple[Callable[[Setting], list[np.ndarray]], int]


def ours(setting: Setting) -> list[np.ndarray]:
    """Every head's parameters (P, K, C', D + 1) on raw rows."""
    fit = fit_logistic(
        setting.z, setting.labels, setting.weights, setting.l2, classes=setting.classes
    )
    if not bool(fit.converged.all()):
        print(f"headprobes, {setting.name}: {fit.messages}", file=sys.stderr)
    parameters = torch.cat([fit.weight, fit.bias[..., None]], dim=-1)
    return list(parameters.double().numpy())


def measure(name: str, quick: bool, rounds: int, slow: bool) -> None:
    """One setting: all contestants in alternation, then a line for each."""
    setting = make(name, quick)
    contestants = {"headprobes": (ours, len(setting.z)), **peers.contestants(setting, quick)}
    if not slow:
        contestants = {c: v for c, v in contestants.items() if c not in peers.SLOW}
    times: dict[str, list[float]] = {contestant: [] for contestant in contestants}
    cpu: dict[str, list[float]] = {contestant: [] for contestant in contestants}
    found: dict[str, list[np.ndarray]] = {}
    floors: list[float] = []
    for contestant, (run, heads) in contestants.items():  # caches, pages, worker processes
        if contestant not in peers.SLOW:
            run(setting.first(heads))
    for number in range(rounds):
        for contestant, (run, heads) in contestants.items():
            if contestant in peers.SLOW and number:
                continue
            part = setting.first(heads)
            start, busy = time.perf_counter(), peers.cpu_seconds()
            found[contestant] = run(part)
            times[contestant].append((time.perf_counter() - start) / heads)
            cpu[contestant].append((peers.cpu_seconds() - busy) / heads)
        floors.append(peers.floor(setting))
    medians = {contestant: statistics.median(values) for contestant, values in times.items()}
    best = min(value for contestant, value in medians.items() if contestant != "headprobes")
    least = min(statistics.median(values) for name, values in cpu.items() if name != "headprobes")
    for contestant in contestants:
        line = {
            "seconds": round(medians[contestant], 6),
            "cpu_seconds": round(statistics.median(cpu[contestant]), 6),
            "ratio": round(medians[contestant] / best, 3),
            "cpu_ratio": round(statistics.median(cpu[contestant]) / least, 3),
            "gap": setting.largest_gap(found[contestant]),
            "peak_mb": peers.peak_mb(),
            "rounds": len(times[contestant]),
            "rows": setting.source,
        }
        if contestant == "headprobes":
            line["floor"] = round(statistics.median(floors), 6)
            line["of_floor"] = round(line["floor"] / medians[contestant], 3)
        report("fit", name, contestant, **line)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small shapes, within a minute")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-slow", action="store_true", help="leave out those of seconds a head")
    given = parser.parse_args(arguments)
    torch.set_num_threads(peers.WORKERS)
    try:
        for name in given.settings:
            for contestant, reason in MISSING.items():
                report("fit", name, contestant, missing=reason)
            measure(name, given.quick, given.rounds, not given.no_slow)
    finally:
        peers.close()


if __name__ == "__main__":
    main()
