"""The cost model: what more work costs, and how near it comes to the clock."""

from __future__ import annotations

import time

import pytest
import torch

from probes.solver import fit_logistic, machine_factor, path_nanoseconds

SMALL = {"rows": 4000, "width": 32, "classes": 6, "choosing": 1, "frozen": 1, "penalties": 3}


@pytest.mark.parametrize("key", SMALL)
def test_more_of_anything_costs_more(key: str) -> None:
    once = path_nanoseconds(**SMALL)
    for more in (2, 8):
        changed = path_nanoseconds(**SMALL | {key: SMALL[key] * more})
        assert once < changed


@pytest.mark.parametrize(("width", "heads"), [(32, 8), (256, 1)])
def test_it_comes_near_the_clock(width: int, heads: int) -> None:
    """Within a factor of four, on a machine that is busy with other things too."""
    rows, classes, l2 = 4000, 12, [1000.0, 100.0, 10.0]
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, classes, (1, rows), generator=generator)
    means = torch.randn(heads, classes, width, generator=generator) * 3 / width**0.5
    z = torch.randn(heads, rows, width, generator=generator) + means[:, labels[0]]
    factors, seconds = [], []
    for _ in range(5):
        factors.append(machine_factor())
        start = time.perf_counter()
        fit_logistic(z, labels, torch.ones(1, rows), l2, classes=classes)
        seconds.append(time.perf_counter() - start)
    # The least of each: what the machine takes while nothing else has its cores.
    one = path_nanoseconds(rows, width, classes, choosing=1, frozen=0, penalties=3)
    ratio = min(seconds) / (heads * one * min(factors) / 1e9)
    assert 0.25 < ratio < 4, (factors, seconds)
