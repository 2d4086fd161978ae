"""One epoch of an MLP bank against the time of its own matrix products.

    python -m benchmarks.mlp [--quick]

The floor is the five products of each step (two forward, three backward) on batches that lie
ready, in warm buffers. JSON lines, one a contestant; ``ratio`` is to the floor.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.lines import report
from probes.config import MLPConfig
from probes.training.mlp import fit_mlp
from probes.training.problems import Problem, Role

SETTINGS = {
    # name: heads, replicas, rows, d_head, hidden, classes
    "minilm-upos": (12, 1, 50_000, 32, 64, 17),
    "minilm-upos-control": (12, 2, 50_000, 32, 64, 17),
    "llama-binary": (32, 1, 5_000, 128, 64, 2),
    "all-heads": (1, 1, 50_000, 384, 64, 17),
}
BATCH = 512
QUICK = 10
"""The share of the rows is one in so many."""


def contestants(sizes: tuple[int, ...]) -> dict[str, Callable[[], float]]:
    """Seconds of an epoch of each, on the same data."""
    H, R, N, D, M, C = sizes
    z = torch.randn(H, N, D, generator=torch.Generator().manual_seed(0))
    rng = np.random.default_rng(0)
    every, nothing = np.ones(N, dtype=bool), np.zeros(N, dtype=bool)
    problems = [
        Problem(Role.PERMUTATION, rng.integers(0, C, N), every, nothing, nothing, index=r)
        for r in range(R)
    ]
    names = [f"head {h}" for h in range(H)]

    def headprobes() -> float:
        seconds = []
        for epochs in (1, 5):  # what both have in common, such as standardising, falls out
            config = MLPConfig(hidden=M, epochs=epochs, batch_size=BATCH)
            start = time.perf_counter()
            fit_mlp(z, problems, config, classes=C, names=names)
            seconds.append(time.perf_counter() - start)
        return (seconds[1] - seconds[0]) / 4

    w1, w2 = torch.randn(H, R * M, D), torch.randn(H * R, C, M)
    hidden, scores = torch.randn(H * R, M, BATCH), torch.randn(H * R, C, BATCH)
    back, g1, g2 = torch.empty(H, R * M, BATCH), torch.empty_like(w1), torch.empty_like(w2)
    batch = z[:, :BATCH].contiguous()

    def products() -> float:
        start = time.perf_counter()
        for _step in range(N // BATCH):
            torch.bmm(w1, batch.mT, out=back)
            torch.bmm(w2, hidden, out=scores)
            torch.bmm(scores, hidden.mT, out=g2)
            torch.bmm(w2.mT, scores, out=back.view(H * R, M, BATCH))
            torch.bmm(back, batch, out=g1)
        return time.perf_counter() - start

    return {"products": products, "headprobes": headprobes}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    torch.set_grad_enabled(False)
    for setting, (H, R, N, *rest) in SETTINGS.items():
        rows = N // QUICK if given.quick else N
        runs = contestants((H, R, rows, *rest))
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for run in runs.values():
            run()
        for _ in range(given.rounds):
            for name, run in runs.items():
                seconds[name].append(run())
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        for name, median in medians.items():
            report(
                "mlp",
                setting,
                name,
                seconds=round(median, 4),
                ratio=round(median / medians["products"], 3),
                rounds=given.rounds,
                threads=torch.get_num_threads(),
            )


if __name__ == "__main__":
    main()
