"""Visitors that store nothing, and the batches that they should see."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from probes.models.sites import Site
from probes.passes.batches import Batch, BatchPlan
from probes.passes.progress import Progress
from probes.passes.shards import Shard
from probes.passes.visitor import Output, Visitor

BUDGET = 100


def batches(plan: BatchPlan, shard: Shard | None = None) -> Iterator[Batch]:
    """The batches of a plan (or a shard), independent of the loop."""
    position, end = plan.range_of(shard or Shard())
    while position < end:
        batch = plan.batch(position, BUDGET, end)
        yield batch
        position += batch.count


class Counting(Visitor):
    """Adds up, in ``end``, what it has seen of each batch; stands for any visitor of numbers."""

    def __init__(self, sites: list[Site]) -> None:
        self.sites = sites
        self.visits: list[Site] = []
        self.sums: dict[Site, float] = {}
        self.total = dict.fromkeys(sites, 0.0)
        self.sequences: list[int] = []
        self.outputs: list[Output] = []
        self.marks: list[Progress] = []
        self.settled: list[Progress] = []
        self.drained = 0

    def begin(self, batch: Batch) -> None:
        self.sums = {}

    def visit(self, site: Site, z: Tensor) -> Tensor | None:
        self.visits.append(site)
        self.sums[site] = float(z.detach().double().abs().sum())
        return None

    def end(self, batch: Batch, output: Output) -> None:
        for site, value in self.sums.items():
            self.total[site] += value
        self.sequences.append(batch.count)
        self.outputs.append(output)

    def mark(self, progress: Progress) -> None:
        self.marks.append(progress)

    def settle(self, progress: Progress) -> None:
        self.settled.append(progress)

    def drain(self) -> None:
        self.drained += 1
