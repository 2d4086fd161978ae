"""Result rows of one chunk of heads: metrics with intervals, control, codelength, seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from probes.corpora.tasks import Task
from probes.evaluation.codelength import block_bits, codelength
from probes.evaluation.evidence_problems import Positions, positions_by_role
from probes.evaluation.permuted_gains import permuted_gains
from probes.statistics.bootstrap import Draws
from probes.statistics.group_sums import GroupSums
from probes.statistics.groups import Array, Groups
from probes.statistics.metrics import METRICS, accuracy_sums, recalls
from probes.training.chunk_fit import ChunkFit
from probes.training.problems import Problem, Role

WHOLE_LAYER = ("residual", "attention_output", "mlp_output", "all_heads")
Predictions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Reported:
    """The rows that are reported on, and what all heads are compared with there."""

    task: Task
    rows: npt.NDArray[np.int64]
    """(m,) rows of the task that are scored: test, or all of them under cross-validation."""
    labels: npt.NDArray[np.int64]
    """(m,)"""
    groups: Groups
    baselines: dict[str, Predictions]
    """(m,) each: majority, and what the words alone give."""
    draws: Draws | None
    folds: bool

    @classmethod
    def of(
        cls,
        task: Task,
        real: Sequence[Problem],
        predicted: dict[str, Predictions],
        draws: Draws | None,
    ) -> Reported:
        """From the real problem (or its folds) and predictions (n,) of the baselines."""
        rows = np.flatnonzero(np.any([problem.score for problem in real], axis=0))
        on_rows = {name: guess[rows] for name, guess in predicted.items()}
        groups = Groups.of(task.groups[rows])
        return cls(task, rows, task.labels[rows], groups, on_rows, draws, len(real) > 1)

    def right(self, baseline: str) -> npt.NDArray[np.bool_]:
        """(m,) where the baseline is right."""
        return self.baselines[baseline] == self.labels


@dataclass(frozen=True)
class ChunkResult:
    """What is kept of a chunk: rows for the table, sums for the tests over the whole map."""

    rows: list[dict[str, Any]]
    accuracy_rows: list[dict[str, Any]]
    """(H,) those of ``rows`` that take the tests' numbers."""
    units: list[tuple[str, int, int]]
    """(H,) stream, layer, head."""
    correct: Array
    """(H, G) rows right by group."""
    control_correct: Array | None
    """(H, G) rows right on the control task."""
    permuted_gain: Array | None
    """(H, P) accuracy minus majority, both under permuted labels."""
    validation: Array
    """(H,)"""


def row(
    place: dict[str, Any], split: str, metric: str, value: float, *, n: int, **more: Any
) -> dict[str, Any]:
    """One row of the results table."""
    return {**place, "split": split, "metric": metric, "value": float(value), "n": n, **more}


def reported_rows(
    places: list[dict[str, Any]],
    predicted: Predictions,
    reported: Reported,
    scores: Array | None = None,
) -> list[dict[str, Any]]:
    """All metrics on the reported rows: predictions (H, m), scores (H, m) of binary probes."""
    classes = len(reported.task.classes)
    rows = []
    for name, metric in METRICS.items():
        if metric.suits(classes, scores):
            sums = metric(predicted, reported.labels, reported.groups, classes, scores)
            rows += sum_rows(places, name, sums, reported)
    return rows


def sum_rows(
    places: list[dict[str, Any]],
    metric: str,
    sums: GroupSums,
    reported: Reported,
    minus: GroupSums | None = None,
) -> list[dict[str, Any]]:
    """Rows of one metric (or of a paired difference) with its interval."""
    values = sums.value() - (0.0 if minus is None else minus.value())
    ends: list[dict[str, float]] = [{} for _ in places]
    if reported.draws is not None:
        interval = reported.draws.interval(sums, minus)
        ends = [
            {"ci_low": float(low), "ci_high": float(high)}
            for low, high in zip(interval.low, interval.high, strict=True)
        ]
    return [
        row(place, "test", metric, value, n=len(reported.rows), **end)
        for place, value, end in zip(places, values, ends, strict=True)
    ]


def evaluate_chunk(chunk: ChunkFit, reported: Reported) -> ChunkResult:
    """Everything that the chunk's own fits can say."""
    by_role = positions_by_role([fit.problem for fit in chunk.fits])
    (own,) = by_role[Role.REAL]
    places, labels, groups = _places(chunk), reported.labels, reported.groups
    predicted, scores = _predict(chunk, own, "score", reported.rows)
    rows = reported_rows(places, predicted, reported, scores)
    accuracy_rows = rows[: len(places)]
    real = accuracy_sums(predicted, labels, groups)
    for name, guess in reported.baselines.items():
        base = accuracy_sums(np.broadcast_to(guess, predicted.shape), labels, groups)
        rows += sum_rows(places, f"gain_{name}", real, reported, minus=base)
    for c, recall in enumerate(recalls(predicted, labels, len(chunk.task.classes)).T):
        name, n = f"recall:{chunk.task.classes[c]}", int((labels == c).sum())
        rows += [row(p, "test", name, r, n=n) for p, r in zip(places, recall, strict=True)]
    chosen_on = _validation_rows(chunk, own, places)
    rows += chosen_on
    control = None
    for problems in by_role[Role.CONTROL]:
        control = _control_sums(chunk, problems, reported)
        rows += sum_rows(places, "control_accuracy", control, reported)
        rows += sum_rows(places, "selectivity", real, reported, minus=control)
    rows += _seed_rows(chunk, by_role[Role.SEED], places, reported)
    rows += _codelength_rows(chunk, [block for (block,) in by_role[Role.CODELENGTH]], places)
    if chunk.kind == "linear" and not reported.folds:
        for one, l2 in zip(accuracy_rows, chunk.fits[0].choice.tolist(), strict=True):
            one["l2"] = l2
    nowhere = [np.nan] * len(places)
    permutations = by_role[Role.PERMUTATION]
    return ChunkResult(
        rows=rows,
        accuracy_rows=accuracy_rows,
        units=[(chunk.stream, chunk.layer, head) for head in chunk.heads],
        correct=real.by_unit[..., 0].astype(np.float64),
        control_correct=None if control is None else control.by_unit[..., 0].astype(np.float64),
        permuted_gain=permuted_gains(chunk, permutations) if permutations else None,
        validation=np.array([r["value"] for r in chosen_on[: len(places)]] or nowhere),
    )


def _places(chunk: ChunkFit) -> list[dict[str, Any]]:
    """The columns that say which unit a row is about."""
    whole = chunk.site in WHOLE_LAYER
    shared = {"feature": chunk.task.feature, "site": chunk.site, "probe": chunk.probe}
    where = {"stream": chunk.stream, "layer": chunk.layer}
    return [{**shared, **where, "head": None if whole else head} for head in chunk.heads]


def _predict(
    chunk: ChunkFit, problems: Sequence[int], which: str, rows: Predictions
) -> tuple[Predictions, Array | None]:
    """Classes (H, m), and scores of binary tasks, on the rows that each problem scores.

    ``which``: ``score`` or ``select``; ``rows``: (m,) the union of those rows, ascending.
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


def _validation_rows(
    chunk: ChunkFit, problems: Sequence[int], places: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Metrics on the rows that chose, without intervals; accuracy first: heads are ranked by it."""
    chosen_on = np.any([chunk.fits[problem].problem.select for problem in problems], axis=0)
    rows = np.flatnonzero(chosen_on)
    if not len(rows):
        return []
    predicted, scores = _predict(chunk, problems, "select", rows)
    labels, classes = chunk.task.labels[rows], len(chunk.task.classes)
    everything = Groups.of(np.zeros(len(rows), dtype=np.int64))
    found = []
    for name, metric in METRICS.items():
        if metric.suits(classes, scores):
            values = metric(predicted, labels, everything, classes, scores).value()
            found += [
                row(place, "validation", name, value, n=len(rows))
                for place, value in zip(places, values, strict=True)
            ]
    return found


def _control_sums(chunk: ChunkFit, problems: Sequence[int], reported: Reported) -> GroupSums:
    """Accuracy on the control task, scored against the control's own labels."""
    predicted, _ = _predict(chunk, problems, "score", reported.rows)
    labels = chunk.fits[problems[0]].problem.labels[reported.rows]
    return accuracy_sums(predicted, labels, reported.groups)


def _seed_rows(
    chunk: ChunkFit,
    replicas: Sequence[Positions],
    places: list[dict[str, Any]],
    reported: Reported,
) -> list[dict[str, Any]]:
    """Mean and standard deviation of the accuracy over initialisations; n counts the seeds."""
    if not replicas:
        return []
    predicted = [_predict(chunk, one, "score", reported.rows)[0] for one in replicas]
    accuracy = np.stack([(one == reported.labels).mean(axis=1) for one in predicted])  # (S, H)
    n = len(replicas)
    spread = accuracy.std(axis=0, ddof=1) if n > 1 else np.full(len(places), np.nan)
    return [
        row(place, "test", f"accuracy_seed_{name}", value, n=n)
        for name, values in (("mean", accuracy.mean(axis=0)), ("sd", spread))
        for place, value in zip(places, values, strict=True)
    ]


def _codelength_rows(
    chunk: ChunkFit, problems: Sequence[int], places: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Bits that the training labels cost, and their compression against the uniform code."""
    bits: list[Array] = []
    blocks = np.full(len(chunk.task.labels), -1, dtype=np.int64)
    for index in problems:
        problem = chunk.fits[index].problem
        blocks[problem.train & (blocks < 0)] = len(bits)  # the first block is never scored
        blocks[problem.score] = len(bits) + 1
        labels, sent = problem.labels[problem.score], int(problem.train.sum())
        parts = [
            block_bits(logits.double().cpu().numpy(), labels, sent)
            for _, logits in chunk.blocks(index, problem.score)
        ]
        bits.append(np.concatenate(parts))
    if not bits:
        return []
    n = int((blocks >= 0).sum())
    length = codelength(np.stack(bits, axis=1), blocks, len(chunk.task.classes))
    return [
        row(place, "train", metric, value, n=n)
        for metric, values in (
            ("codelength_bits", length.bits),
            ("compression", length.compression),
        )
        for place, value in zip(places, values, strict=True)
    ]
