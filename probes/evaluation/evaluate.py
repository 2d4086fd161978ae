"""From fitted chunks to result rows: what the pipeline calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from probes.config import EvaluationConfig, SignificanceConfig
from probes.corpora.tasks import Task
from probes.evaluation import baselines
from probes.evaluation.caveats import map_caveats, task_caveats
from probes.evaluation.chunk_rows import (
    WHOLE_LAYER,
    ChunkResult,
    Reported,
    evaluate_chunk,
    reported_rows,
    row,
)
from probes.evaluation.evidence_problems import positions_by_role
from probes.evaluation.paired_gains import SAME_UNIT, paired_gains
from probes.results.findings import BestUnit, MapTestSummary
from probes.statistics.bootstrap import Draws, draw_groups
from probes.statistics.maps import MapEvidence
from probes.statistics.selection import BestHead, best_on_validation, best_out_of_bag
from probes.statistics.significance import MapTest, permutation_test, sign_flip_test
from probes.training.chunk_fit import ChunkFit
from probes.training.problems import Problem, Role

MapKey = tuple[str, str, str]
"""Feature, site and probe: the heads (or layers) that are tested together."""


@dataclass(frozen=True)
class Evaluation:
    """All evidence of a run."""

    rows: list[dict[str, Any]]
    """Rows of ``results.csv``, baselines of the corpus first."""
    maps: list[MapEvidence]
    best: list[BestUnit]
    """The best unit of each map."""
    tests: list[MapTestSummary]
    """What the tests of each map refute."""
    caveats: list[str]
    """What a reader of the maps has to know, in words."""


@dataclass
class Evaluator:
    """Collects fitted chunks and gives the evidence when all are in.

    Intervals are computed as chunks come in; tests and the best head need the whole map.
    """

    evaluation: EvaluationConfig
    significance: SignificanceConfig
    seed: int = 0
    group_name: str = "group"
    texts: Callable[[Task], Sequence[str]] | None = None
    """Text of each row of a task, for the bag of words; None: without that baseline."""
    lexical: bool = True
    """Measure what the words alone give."""
    _reported: dict[str, Reported] = field(default_factory=dict)
    _corpus_rows: list[dict[str, Any]] = field(default_factory=list)
    _maps: dict[MapKey, list[ChunkResult]] = field(default_factory=dict)
    _tasks: dict[str, Task] = field(default_factory=dict)

    def add(self, chunk: ChunkFit) -> list[dict[str, Any]]:
        """Evaluate one chunk; the rows it gave so far, for loggers that want them at once."""
        task, feature = chunk.task, chunk.task.feature
        if feature not in self._reported:
            self._start(task, [fit.problem for fit in chunk.fits])
        result = evaluate_chunk(chunk, self._reported[feature])
        self._maps.setdefault((feature, chunk.site, chunk.probe), []).append(result)
        return result.rows

    def finish(self) -> Evaluation:
        """Test the maps, find their best units, and put everything together."""
        rows, best, tests = list(self._corpus_rows), [], []
        caveats = [
            caveat
            for feature, reported in self._reported.items()
            for caveat in task_caveats(
                self._tasks[feature], reported, self.group_name, self.significance.level
            )
        ]
        maps = [
            _evidence(key, chunks, self._reported[key[0]]) for key, chunks in self._maps.items()
        ]
        for evidence, (key, chunks) in zip(maps, self._maps.items(), strict=True):
            reported = self._reported[key[0]]
            against_majority, against_control = self._test(chunks, reported)
            _write_tests(chunks, against_majority, against_control)
            rows += [one for chunk in chunks for one in chunk.rows]
            if key[1] not in WHOLE_LAYER and key[2] not in SAME_UNIT:
                others = {(m.site, m.probe): m for m in maps if m.feature == key[0]}
                rows += paired_gains(evidence, others, _places(key, evidence), reported)
            found = self._best(evidence, reported)
            best.append(_best_unit(evidence, found))
            tests.append(
                MapTestSummary(
                    *key,
                    null=against_majority.null,
                    smallest_p=against_majority.smallest,
                    units=len(evidence.units),
                    groups=len(evidence.groups),
                    level=self.significance.level,
                    significant_familywise=int(
                        (against_majority.p_familywise <= self.significance.level).sum()
                    ),
                    significant_q=int((against_majority.q <= self.significance.level).sum()),
                )
            )
            if key[1] == "heads":
                caveats += map_caveats(key, chunks, reported, tests[-1])
        return Evaluation(rows, maps, best, tests, list(dict.fromkeys(caveats)))

    def _start(self, task: Task, problems: list[Problem]) -> None:
        """What all maps of a feature share: reported rows, draws, baselines of the corpus."""
        (positions,) = positions_by_role(problems)[Role.REAL]
        real = [problems[position] for position in positions]
        predicted = {"majority": _joined(real, lambda p: baselines.majority(task, p))}
        if self.lexical and task.level in ("word", "span"):
            predicted["lexical"] = _joined(real, lambda p: baselines.lexical(task, p))
        elif self.lexical and self.texts is not None:
            texts = self.texts(task)
            predicted["bag_of_words"] = _joined(
                real, lambda p: baselines.bag_of_words(task, p, texts)
            )
        reported = Reported.of(task, real, predicted, self._draws(task, real))
        self._reported[task.feature], self._tasks[task.feature] = reported, task
        for name, guess in predicted.items():
            place = {"feature": task.feature, "site": "corpus", "probe": name}
            self._corpus_rows += reported_rows([place], guess[None, reported.rows], reported)
            select = np.any([p.select for p in real], axis=0)
            if select.any():
                accuracy = float((guess == task.labels)[select].mean())
                self._corpus_rows.append(
                    row(place, "validation", "accuracy", accuracy, n=int(select.sum()))
                )

    def _draws(self, task: Task, real: list[Problem]) -> Draws | None:
        if not self.evaluation.bootstrap:
            return None
        scored = np.any([problem.score for problem in real], axis=0)
        return draw_groups(
            len(np.unique(task.groups[scored])),
            self.evaluation.bootstrap,
            seed=self.seed,
            confidence=self.evaluation.confidence,
        )

    def _test(
        self, chunks: list[ChunkResult], reported: Reported
    ) -> tuple[MapTest, MapTest | None]:
        """Against the majority, and against the control where there is one."""
        correct = np.concatenate([chunk.correct for chunk in chunks])  # (H, G)
        majority = reported.groups.sum(reported.right("majority"))  # (G,)
        if chunks[0].permuted_gain is not None:
            gain = (correct.sum(axis=1) - majority.sum()) / reported.groups.sizes.sum()
            permuted = np.concatenate([_array(chunk.permuted_gain) for chunk in chunks])  # (H, P)
            first = permutation_test(
                gain, permuted.T, null="activations and labels are independent"
            )
        else:
            first = sign_flip_test(
                correct - majority,
                seed=self.seed,
                null="the trained probe gets no more rows right than the majority class, "
                "on average over groups",
            )
        if chunks[0].control_correct is None:
            return first, None
        control = np.concatenate([_array(chunk.control_correct) for chunk in chunks])
        null = "the probe is no more accurate on the task than on its control"
        return first, sign_flip_test(correct - control, seed=self.seed, null=null)

    def _best(self, evidence: MapEvidence, reported: Reported) -> BestHead | None:
        if not reported.folds and not np.isnan(evidence.validation).all():
            return best_on_validation(evidence.sums(), reported.draws, evidence.validation)
        # Without draws nothing frees a value from the selection, so none is given.
        return best_out_of_bag(evidence.sums(), reported.draws) if reported.draws else None


def _joined(
    problems: list[Problem], predict: Callable[[Problem], npt.NDArray[np.int64]]
) -> npt.NDArray[np.int64]:
    """Predictions (n,) where each row's comes from the problem that scores it."""
    joined = predict(problems[0])
    for problem in problems[1:]:
        joined = np.where(problem.score, predict(problem), joined)
    return joined


def _evidence(key: MapKey, chunks: list[ChunkResult], reported: Reported) -> MapEvidence:
    places = [place for chunk in chunks for place in chunk.units]
    return MapEvidence(
        feature=key[0],
        site=key[1],
        probe=key[2],
        units=np.array([place[1:] for place in places], dtype=np.int32),
        streams=tuple(place[0] for place in places),
        groups=reported.groups.names.astype(np.int64),
        rows=reported.groups.sizes,
        correct=np.concatenate([chunk.correct for chunk in chunks]).astype(np.int64),
        validation=np.concatenate([chunk.validation for chunk in chunks]),
    )


def _write_tests(chunks: list[ChunkResult], majority: MapTest, control: MapTest | None) -> None:
    """Put the tests' numbers on the accuracy rows of the units."""
    tested = [one for chunk in chunks for one in chunk.accuracy_rows]
    for unit, one in enumerate(tested):
        one["p_value"] = float(majority.p[unit])
        one["p_familywise"] = float(majority.p_familywise[unit])
        one["q_value"] = float(majority.q[unit])
        if control is not None:
            one["p_control"] = float(control.p[unit])
            one["q_control"] = float(control.q[unit])


def _best_unit(evidence: MapEvidence, best: BestHead | None) -> BestUnit:
    if best is None:
        return BestUnit(evidence.feature, evidence.site, evidence.probe)
    stream, layer, head = evidence.keys[best.head]
    _, naive_layer, naive_head = evidence.keys[best.naive_head]
    return BestUnit(
        evidence.feature,
        evidence.site,
        evidence.probe,
        stream=stream,
        layer=layer,
        head=head,
        value=best.value,
        ci_low=None if np.isnan(best.low) else best.low,
        ci_high=None if np.isnan(best.high) else best.high,
        naive=best.naive,
        naive_layer=naive_layer,
        naive_head=naive_head,
        method=best.method,
    )


def _places(key: MapKey, evidence: MapEvidence) -> list[dict[str, Any]]:
    return [
        {
            "feature": key[0],
            "site": key[1],
            "probe": key[2],
            "stream": stream,
            "layer": layer,
            "head": head,
        }
        for stream, layer, head in evidence.keys
    ]


def _array(value: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64]:
    assert value is not None, "chunks of one map have the same problems"
    return value
