"""What the probes of one chunk of heads reach: metrics, control, codelength, seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from probes.evaluation.baselines import Predictions
from probes.evaluation.codelength import block_bits, codelength
from probes.evaluation.evidence_problems import Positions, positions_by_role
from probes.evaluation.permuted_gains import permuted_gains
from probes.evaluation.scored_rows import ScoredRows
from probes.evaluation.table_rows import (
    Place,
    Row,
    metric_rows,
    places_of,
    sums_rows,
    value_rows,
)
from probes.statistics.group_sums import GroupSums
from probes.statistics.groups import Array, Groups
from probes.statistics.maps import MapEvidence
from probes.statistics.metrics import accuracy_sums, recalls
from probes.training.chunk_fit import ChunkFit
from probes.training.problems import Role


@dataclass(frozen=True)
class ChunkResult:
    """What is kept of a chunk: rows for the table, sums for the tests over the whole map."""

    rows: list[Row]
    accuracy_rows: list[Row]
    """(H,) those of ``rows`` that take the tests' numbers."""
    evidence: MapEvidence
    """The chunk's part of the map: rows right by group."""
    control: Array | None
    """(H, G) rows right on the control task."""
    permuted_gains: Array | None
    """(H, P) accuracy minus majority, both under permuted labels."""
    penalties: list[float]
    """That the probes of the real labels chose, of each head and fold; empty if they have none."""


def evaluate_chunk(chunk: ChunkFit, scored: ScoredRows) -> ChunkResult:
    """All numbers that the chunk's own fits give."""
    by_role = positions_by_role([fit.problem for fit in chunk.fits])
    (real,) = by_role[Role.REAL]
    labels, groups = scored.labels, scored.groups
    predicted, scores = _predict(chunk, real, "score", scored.rows)
    accuracy = accuracy_sums(predicted, labels, groups)
    validation, n_validation = _validation_metrics(chunk, real, scored)
    evidence = _evidence(chunk, scored, accuracy, validation.get("accuracy"))
    places = places_of(evidence)
    rows = metric_rows(places, predicted, scored, scores)
    accuracy_rows = rows[: len(places)]
    for name, classes in scored.baselines.items():
        baseline = accuracy_sums(np.broadcast_to(classes, predicted.shape), labels, groups)
        rows += sums_rows(places, f"gain_{name}", accuracy, scored, minus=baseline)
    for c, recall in enumerate(recalls(predicted, labels, len(chunk.task.classes)).T):
        name, n = f"recall:{chunk.task.classes[c]}", int((labels == c).sum())
        rows += value_rows(places, "test", name, recall, n=n)
    for name, values in validation.items():
        rows += value_rows(places, "validation", name, values, n=n_validation)
    control = None
    for problems in by_role[Role.CONTROL]:
        control = _control_sums(chunk, problems, scored)
        rows += sums_rows(places, "control_accuracy", control, scored)
        rows += sums_rows(places, "selectivity", accuracy, scored, minus=control)
    rows += _seed_rows(chunk, by_role[Role.SEED], places, scored)
    rows += _codelength_rows(chunk, [block for (block,) in by_role[Role.CODELENGTH]], places)
    penalties = [chunk.fits[position].choice.tolist() for position in real]
    if chunk.kind == "linear" and not scored.folds:
        for row, l2 in zip(accuracy_rows, penalties[0], strict=True):
            row["l2"] = l2
    permutations = by_role[Role.PERMUTATION]
    return ChunkResult(
        rows=rows,
        accuracy_rows=accuracy_rows,
        evidence=evidence,
        control=None if control is None else control.by_unit[..., 0].astype(np.float64),
        permuted_gains=permuted_gains(chunk, permutations) if permutations else None,
        penalties=[l2 for own in penalties for l2 in own] if chunk.kind == "linear" else [],
    )


def _evidence(
    chunk: ChunkFit, scored: ScoredRows, accuracy: GroupSums, validation: Array | None
) -> MapEvidence:
    heads = len(chunk.heads)
    return MapEvidence(
        feature=chunk.task.feature,
        site=chunk.site,
        probe=chunk.probe,
        units=np.array([(chunk.layer, head) for head in chunk.heads], dtype=np.int32),
        streams=(chunk.stream,) * heads,
        groups=scored.groups.names.astype(np.int64),
        rows=scored.groups.sizes,
        totals=accuracy.by_unit[..., 0].astype(np.int64),
        validation=np.full(heads, np.nan) if validation is None else validation,
    )


def _predict(
    chunk: ChunkFit,
    problems: Sequence[int],
    which: Literal["score", "select"],
    rows: npt.NDArray[np.int64],
) -> tuple[Predictions, Array | None]:
    """Classes (H, m), and scores of binary tasks, each row by the problem whose it is.

    which: the rows that are scored, or those that choose; rows: (m,) the union of these over the
    problems, ascending.
    """
    shape, binary = (len(chunk.heads), len(rows)), len(chunk.task.classes) == 2
    predicted = np.zeros(shape, dtype=np.int64)
    scores = np.zeros(shape) if binary else None
    for problem in problems:
        mask = getattr(chunk.fits[problem].problem, which)
        where = np.searchsorted(rows, np.flatnonzero(mask))
        for start, logits in chunk.blocks(problem, mask):
            heads = slice(start, start + len(logits))
            predicted[heads, where] = logits.argmax(dim=-1).cpu().numpy()
            if scores is not None:
                scores[heads, where] = (logits[..., 1] - logits[..., 0]).double().cpu().numpy()
    return predicted, scores


def _validation_metrics(
    chunk: ChunkFit, problems: Sequence[int], scored: ScoredRows
) -> tuple[dict[str, Array], int]:
    """Metrics (H,) by name on the rows that choose, and the number of these rows.

    Without intervals; the accuracy is first: heads are ranked by it.
    """
    chosen_on = np.any([chunk.fits[problem].problem.select for problem in problems], axis=0)
    rows = np.flatnonzero(chosen_on)
    if not len(rows):
        return {}, 0
    predicted, scores = _predict(chunk, problems, "select", rows)
    labels, classes = chunk.task.labels[rows], len(chunk.task.classes)
    everything = Groups.of(np.zeros(len(rows), dtype=np.int64))
    values = {
        metric.name: metric(predicted, labels, everything, classes, scores).value()
        for metric in scored.metrics
        if metric.suits(classes, scores, labels)
    }
    return values, len(rows)


def _control_sums(chunk: ChunkFit, problems: Sequence[int], scored: ScoredRows) -> GroupSums:
    """Accuracy on the control task, scored against the control's own labels."""
    predicted, _ = _predict(chunk, problems, "score", scored.rows)
    labels = chunk.fits[problems[0]].problem.labels[scored.rows]
    return accuracy_sums(predicted, labels, scored.groups)


def _seed_rows(
    chunk: ChunkFit,
    replicas: Sequence[Positions],
    places: Sequence[Place],
    scored: ScoredRows,
) -> list[Row]:
    """Mean and standard deviation of the accuracy over initialisations; n counts the seeds."""
    if not replicas:
        return []
    n = len(replicas)
    accuracy = np.empty((n, len(places)))  # (S, H)
    for replica, problems in enumerate(replicas):
        predicted, _ = _predict(chunk, problems, "score", scored.rows)
        accuracy[replica] = (predicted == scored.labels).mean(axis=1)
    deviation = accuracy.std(axis=0, ddof=1) if n > 1 else np.full(len(places), np.nan)
    return [
        *value_rows(places, "test", "accuracy_seed_mean", accuracy.mean(axis=0), n=n),
        *value_rows(places, "test", "accuracy_seed_sd", deviation, n=n),
    ]


def _codelength_rows(
    chunk: ChunkFit, problems: Sequence[int], places: Sequence[Place]
) -> list[Row]:
    """Bits that the training labels cost, and their compression against the uniform code."""
    bits: list[Array] = []
    blocks = np.full(len(chunk.task.labels), -1, dtype=np.int64)
    for index in problems:
        problem = chunk.fits[index].problem
        blocks[problem.train & (blocks < 0)] = len(bits)  # the first block is never scored
        blocks[problem.score] = len(bits) + 1
        labels, sent = problem.labels[problem.score], int(problem.train.sum())
        bits.append(
            np.concatenate(
                [
                    block_bits(logits.double().cpu().numpy(), labels, sent)
                    for _, logits in chunk.blocks(index, problem.score)
                ]
            )
        )
    if not bits:
        return []
    n = int((blocks >= 0).sum())
    length = codelength(np.stack(bits, axis=1), blocks, len(chunk.task.classes))
    return [
        *value_rows(places, "train", "codelength_bits", length.bits, n=n),
        *value_rows(places, "train", "compression", length.compression, n=n),
    ]
