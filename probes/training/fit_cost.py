"""What the linear fits of a run take, estimated before they are made."""

from __future__ import annotations

from collections.abc import Iterable

from probes.config import LinearConfig
from probes.config.run import PENALTIES
from probes.solver import machine_factor, path_nanoseconds
from probes.training.parts import PlannedPart


def linear_seconds(
    parts: Iterable[tuple[PlannedPart, int]], config: LinearConfig, *, factor: float | None = None
) -> float:
    """Seconds of these parts in one process, each with so many further refits of frozen penalty.

    factor: of this machine, as ``machine_factor`` measures it; None measures it now.
    """
    # The default path goes on beyond its ends for some heads: one penalty more, on average.
    penalties = len(PENALTIES) + 1 if config.l2 is None else len(config.l2)
    total = sum(_nanoseconds(planned, more, penalties) for planned, more in parts)
    return total / 1e9 * (machine_factor() if factor is None else factor)


def _nanoseconds(planned: PlannedPart, more: int, penalties: int) -> float:
    problems, classes = planned.problem_set.problems, len(planned.problem_set.task.classes)
    choosing = sum(bool(problem.select.any()) for problem in problems)
    return len(planned.part.heads) * path_nanoseconds(
        int(problems[0].train.sum()),
        planned.width,
        classes,
        choosing=choosing,
        frozen=len(problems) - choosing + more,
        penalties=penalties,
    )
