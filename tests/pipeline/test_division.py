"""How the parts of a run's fits are divided: every part once, about equal costs, always alike."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.workers import growth, makespan
from probes.pipeline.shard_fits import divided


@dataclass(frozen=True)
class Planned:
    number: int
    cost: float


@given(st.lists(st.floats(1.0, 100.0), max_size=40), st.integers(1, 9))
def test_every_part_is_in_one_share(costs: list[float], count: int) -> None:
    plan = [Planned(number, cost) for number, cost in enumerate(costs)]
    shares = divided(plan, count)  # type: ignore[arg-type]
    assert len(shares) == count
    assert sorted(p.number for share in shares for p in share) == list(range(len(plan)))  # type: ignore[attr-defined]
    assert shares == divided(plan, count)  # type: ignore[arg-type]
    totals = [sum(part.cost for part in share) for share in shares]
    # The dearest first, each to the cheapest share: no share is ahead by more than one part.
    assert max(totals) - min(totals) <= max(costs, default=0.0) + 1e-9


@pytest.mark.parametrize("workers", [1, 2, 4, 8])
def test_simulated_time_is_between_its_bounds(workers: int) -> None:
    parts = [5.0, 4.0, 3.0, 3.0, 2.0, 1.0, 1.0]
    time = makespan(parts, workers)
    assert max(max(parts), sum(parts) / workers) <= time <= sum(parts) / workers + max(parts)
    line = growth(parts, workers, start=2.0, extract=8.0, rest=1.0)
    assert line["speed"] <= workers
    assert line["total"] == pytest.approx(3.0 + 8.0 / workers + time, abs=0.06)
