"""The parts that a run's fits consist of: each one feature on some heads of one layer.

A part depends on no other, so parts may be fitted in any order, in several processes, and stored
one by one.
"""

from __future__ import annotations

from dataclasses import dataclass

from probes.training.problems import ActivationSource, ProblemSet


@dataclass(frozen=True)
class Part:
    """Names one part of the fits of a run."""

    feature: str
    site: str
    """As in the results: ``heads``, ``residual``, ..., or ``all_heads``."""
    probe: str
    """As in the results: ``linear``, ``mlp``, or the name that the source gave."""
    stream: str
    layer: int
    heads: tuple[int, ...]
    """Index in the layer of each head; ``(0,)`` for whole-layer sites."""


@dataclass(frozen=True)
class PlannedPart:
    """A part, and what is fitted in it."""

    part: Part
    problem_set: ProblemSet
    width: int
    """Numbers of a row that enters a probe."""

    @property
    def cost(self) -> float:
        """Of its fits, relative to others of the run: products of weights with rows."""
        task, problems = self.problem_set.task, self.problem_set.problems
        probes = len(self.part.heads) * len(problems) * max(len(task.classes), 2)
        return float(probes * len(task.rows) * self.width)


def parts_of(
    source: ActivationSource, index: int, start: int, stop: int, probe_name: str
) -> list[PlannedPart]:
    """The parts of one chunk, in the order in which they are fitted.

    index: position of the layer in ``cache.layers``. start, stop: its first head, and the one after
    its last. probe_name: of the kind of probe that is fitted.
    """
    info = source.cache.layers[index]
    probe, heads = source.probe or probe_name, tuple(range(start, stop))
    place = (info.stream, info.layer)
    parts = [
        PlannedPart(
            Part(problems.task.feature, source.site, probe, *place, heads),
            problems,
            info.width,
        )
        for problems in source.on_units(*place)
    ]
    if len(heads) == info.units:
        parts += [
            PlannedPart(
                Part(problems.task.feature, "all_heads", probe, *place, (0,)),
                problems,
                info.units * info.width,
            )
            for problems in source.on_layer(*place)
        ]
    return parts
