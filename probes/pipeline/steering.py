"""Steering as part of a run: which heads are pushed, on which rows, and against what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from probes.evaluation.dose_response import dose_evidence, dose_rows
from probes.evaluation.table_rows import Row
from probes.interventions.behaviour import Behaviour
from probes.interventions.directions import (
    Push,
    covariance_directions,
    other_heads,
    random_directions,
)
from probes.models.sites import Site
from probes.pipeline.steered_directions import TrainingRows, directions, training_rows
from probes.pipeline.steered_heads import no_such_class, ranked_heads, wanted_class
from probes.pipeline.steered_passes import Downstream, SteeredPasses
from probes.pipeline.steering_of_run import SteeringOfRun
from probes.results.dose_evidence import DoseEvidence
from probes.results.steered import SteeredHead, SteeringRecord
from probes.results.vocabulary.comparators import (
    RANDOM_COVARIANCE,
    RANDOM_DIRECTION,
    RANDOM_HEADS,
)


@dataclass(frozen=True)
class Steered:
    """What steering one feature gave."""

    rows: list[Row]
    record: SteeringRecord
    doses: list[DoseEvidence]
    """Sums by group of each dose."""


def steer(
    run: SteeringOfRun,
    name: str,
    behaviour: Behaviour | None,
    answers_of: str | None,
    downstream: Callable[[], Downstream],
) -> Steered:
    """Steer towards a class of the feature ``name``.

    behaviour: of answers, whose measure changes; None: only the last layer's probe is read.
    answers_of: the feature whose classes the answers stand for; None: of none.
    downstream: the rows of the feature, and the last layer's probe.

    Raises:
        UserError: the feature has no such class, or the run no map of it.
    """
    config = run.config.steering
    towards = wanted_class(run.corpus, name, config.towards)
    chosen_by, ranked = ranked_heads(run.maps, name, run.config.probe.name, run.editor)
    sizes = list(dict.fromkeys(min(k, len(ranked)) for k in config.heads))
    if len(sizes) < len(config.heads):
        run.note(f"there are {len(ranked)} heads, so that larger sets are left out")
    rows = training_rows(run, name, ranked[: max(sizes)])
    if towards not in rows.task.classes:
        raise no_such_class(name, towards, rows.task.classes)
    code = rows.task.classes.index(towards)
    along = directions(run, rows, code)
    pushes = [along(site, head) for site, head in ranked[: max(sizes)]]
    sets = {
        (variant, size, draw): pushed
        for size in sizes
        for (variant, draw), pushed in _sets(run, pushes[:size], along, rows).items()
    }
    strengths = sorted({0.0, *map(float, config.strengths)})
    doses = [(key, strength) for key in sets for strength in strengths]
    pushed = [[push.times(strength) for push in sets[key]] for key, strength in doses]
    passes = SteeredPasses(run, name, doses, pushed)
    changed = []
    if behaviour is not None:
        changed += passes.answers(behaviour, answers_of, rows.task, code, config.positions)
    changed += passes.log_odds(downstream, code, config.positions)
    perplexities, neutral = passes.neutral()
    record = SteeringRecord(
        feature=name,
        towards=towards,
        direction=config.direction,
        positions=config.positions,
        chosen_by=chosen_by,
        heads=[
            SteeredHead(push.site.stream, push.site.layer, push.head, round(push.norm, 6))
            for push in pushes
        ],
        sets=sizes,
        metric=changed[0].metric if changed else "",
        neutral=neutral,
        draws=config.draws,
        notes=list(dict.fromkeys(run.notes)),
    )
    made = dose_rows(name, config.direction, config.positions, changed, perplexities)
    kept = dose_evidence(name, config.positions, changed, perplexities)
    return Steered(made, record, kept)


def _sets(
    run: SteeringOfRun,
    pushes: Sequence[Push],
    along: Callable[[Site, int], Push],
    rows: TrainingRows,
) -> dict[tuple[str, int], list[Push]]:
    """The pushes of a set of heads and of its controls, by variant and draw."""
    sets = {(run.config.steering.direction, 0): list(pushes)}
    for draw in range(run.config.steering.draws):
        seed = run.config.seed * 1000 + draw
        sets[RANDOM_DIRECTION, draw] = random_directions(pushes, seed)
        sets[RANDOM_COVARIANCE, draw] = covariance_directions(pushes, rows.of, seed)
        sets[RANDOM_HEADS, draw], again = other_heads(pushes, along, seed)
        if again:
            run.note(
                f"of the random heads beside {len(pushes)}, {again} are pushed ones "
                "themselves, because too many of their layer are"
            )
    return sets
