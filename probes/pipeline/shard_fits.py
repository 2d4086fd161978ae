"""The fits of one shard: which parts are its own."""

from __future__ import annotations

from collections.abc import Sequence

from probes.evaluation.evaluate import Evaluator
from probes.pipeline.fits import Fits
from probes.pipeline.part_store import PartStore, part_file
from probes.pipeline.prepare import PreparedRun
from probes.training.data import plan_parts
from probes.training.parts import PlannedPart
from probes.training.problems import ActivationSource


def fit_shard(
    prepared: PreparedRun,
    sources: Sequence[ActivationSource],
    evaluator: Evaluator,
    store: PartStore,
) -> tuple[list[str], list[str]]:
    """Fit the parts of this process; names of its files, and of those of all processes.

    What follows from the best heads of the whole map is left to whoever joins the shards.
    """
    config, shard = prepared.config, prepared.shard
    plan, _ = plan_parts(sources, config.probe.name, prepared.memory_budget)
    own = divided(plan, shard.count)[shard.index]
    fits = Fits(config, evaluator, store, prepared.memory_budget)
    fits.fit_only(sources, [planned.part for planned in own])
    return [part_file(each.part) for each in own], [part_file(each.part) for each in plan]


def divided(plan: Sequence[PlannedPart], count: int) -> list[list[PlannedPart]]:
    """The parts in ``count`` shares of about equal cost, the same in every process.

    Not contiguous, as rows are: a range of layers would give one process all heads with their
    controls, and another the residual stream. Parts that are dearest are dealt out first, each to
    the share that is cheapest so far.
    """
    shares: list[list[int]] = [[] for _ in range(count)]
    costs = [0.0] * count
    for position in sorted(range(len(plan)), key=lambda i: (-plan[i].cost, i)):
        cheapest = costs.index(min(costs))
        shares[cheapest].append(position)
        costs[cheapest] += plan[position].cost
    return [[plan[position] for position in sorted(share)] for share in shares]
