"""What fits take, before they are made: the solver's cost model, on this machine as it is now.

The three constants were fitted to the processor time of 144 fits of SmolLM2 and MiniLM on UD
English EWT (17 and 35 classes, widths 32 to 576): none was off by more than 2.3.
"""

from __future__ import annotations

import time

import torch

from probes.solver.hessian_sample import hessian_cost
from probes.solver.tuning import nanoseconds_of_an_iteration

ITERATIONS = 25.0
"""At each penalty of a path."""
HESSIANS = 0.8
"""Times that the sampled Hessians of a problem's columns are formed, on average."""
GRAM = 0.3
"""Nanoseconds of a row and pair of features: the metric that all columns share."""

ROWS, WIDTH, COLUMNS = 4096, 64, 24
"""Of the products that are timed."""
REPEATS = 40


def path_nanoseconds(
    rows: int, width: int, classes: int, *, choosing: int, frozen: int, penalties: int
) -> float:
    """One head's fits, on the machine of ``tuning``.

    rows: that it is trained on. choosing: problems that are fitted at each of the ``penalties``.
    frozen: problems that are fitted at one.
    """
    columns = 1 if classes == 2 else classes
    one = nanoseconds_of_an_iteration(rows, width + 1, columns)
    total = HESSIANS * hessian_cost(rows, width, columns, 1) * one + GRAM * rows * width**2
    for problems, paths in ((choosing, penalties), (frozen, 1)):
        if problems:
            each = nanoseconds_of_an_iteration(rows, width + 1, columns * problems)
            total += ITERATIONS * paths * each
    return total


def machine_factor() -> float:
    """How many times as long as the machine of ``tuning`` this process takes at present for the
    products of an iteration, measured in some hundredths of a second."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, WIDTH, generator=generator)
    w = torch.randn(WIDTH, COLUMNS, generator=generator)
    start = 0.0
    for repeat in range(-2, REPEATS):  # first calls allocate
        if repeat == 0:
            start = time.perf_counter()
        torch.mm(x.mT, torch.mm(x, w).softmax(dim=1))
    seconds = (time.perf_counter() - start) / REPEATS
    return 1e9 * seconds / nanoseconds_of_an_iteration(ROWS, WIDTH + 1, COLUMNS)
