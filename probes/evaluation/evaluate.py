"""From fitted chunks to result rows, tests and best heads: what the pipeline calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from probes.config import EvaluationConfig, SignificanceConfig
from probes.corpora.tasks import Task
from probes.evaluation import baselines
from probes.evaluation.baselines import Predictions
from probes.evaluation.caveats import map_caveats, task_caveats
from probes.evaluation.chunk_results import ChunkResult, evaluate_chunk
from probes.evaluation.effect_map import EffectMap
from probes.evaluation.evidence_problems import positions_by_role
from probes.evaluation.judge import MapFindings, judge_map
from probes.evaluation.paired_gains import paired_gains
from probes.evaluation.scored_rows import ScoredRows
from probes.evaluation.table_rows import Place, Row, metric_rows
from probes.results.dose_evidence import DoseEvidence
from probes.results.findings import BestUnit, MapTestSummary
from probes.results.vocabulary.comparators import BAG_OF_WORDS, LEXICAL, MAJORITY, is_comparator
from probes.results.vocabulary.sites import CORPUS, HEADS, is_whole_layer
from probes.statistics.bootstrap import Draws, draw_groups
from probes.statistics.groups import Array
from probes.statistics.maps import Layer, MapEvidence
from probes.statistics.merge import merge_units
from probes.statistics.metrics import METRICS, Metric
from probes.training.chunk_fit import ChunkFit
from probes.training.problems import LayerOrder, Problem, Role

MapKey = tuple[str, str, str]
"""Feature, site and probe: the heads (or layers) that are tested together."""


@dataclass(frozen=True)
class Evaluation:
    """All evidence of a run."""

    rows: list[Row]
    """Rows of ``results.csv``, baselines of the corpus first."""
    maps: list[MapEvidence]
    best: list[BestUnit]
    """The best unit of each map."""
    tests: list[MapTestSummary]
    """What the tests of each map refute."""
    caveats: list[str]
    """What a reader of the maps has to know, in words."""
    penalties: dict[MapKey, list[float]] = field(default_factory=dict)
    """That linear probes chose, of each head and fold."""
    doses: list[DoseEvidence] = field(default_factory=list)
    """What steering changed, as sums by group."""

    def with_effects(
        self,
        effects: Sequence[EffectMap],
        caveats: Sequence[str],
        rows: Sequence[Row] = (),
        doses: Sequence[DoseEvidence] = (),
    ) -> Evaluation:
        """With the maps of other methods after those of probes, and what is of no map: rows and
        sums of steering."""
        of_maps = [caveat for one in effects for caveat in one.caveats]
        return replace(
            self,
            rows=[*self.rows, *(row for one in effects for row in one.rows), *rows],
            maps=[*self.maps, *(evidence for one in effects for evidence in one.maps)],
            best=[*self.best, *(one.best for one in effects)],
            tests=[*self.tests, *(one.test for one in effects)],
            caveats=list(dict.fromkeys([*self.caveats, *of_maps, *caveats])),
            doses=[*self.doses, *doses],
        )


@dataclass
class Evaluator:
    """Collects fitted chunks, and makes the evidence of a run when all are in.

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
    metrics: Sequence[Metric] = tuple(METRICS.values())
    """What is measured of each head, the accuracy first."""
    order: LayerOrder = field(default_factory=LayerOrder)
    """Of the layers in tables and files."""
    _scored: dict[str, ScoredRows] = field(default_factory=dict)
    """By feature."""
    _corpus_rows: dict[str, list[Row]] = field(default_factory=dict)
    """By feature: rows of its baselines."""
    _chunks: dict[MapKey, list[ChunkResult]] = field(default_factory=dict)

    def add(self, chunk: ChunkFit) -> list[Row]:
        """Evaluate one chunk; returns its rows so far, without the tests over the whole map."""
        result = self.evaluate(chunk)
        self.collect(result, chunk.task, [fit.problem for fit in chunk.fits])
        return result.rows

    def evaluate(self, chunk: ChunkFit) -> ChunkResult:
        """The numbers of one chunk, which are not collected yet."""
        self._begin(chunk.task, [fit.problem for fit in chunk.fits])
        return evaluate_chunk(chunk, self._scored[chunk.task.feature])

    def collect(self, result: ChunkResult, task: Task, problems: Sequence[Problem]) -> None:
        """Take an evaluated chunk into its map, after those before it.

        task, problems: what was fitted.
        """
        self._begin(task, problems)
        key = (task.feature, result.evidence.site, result.evidence.probe)
        self._chunks.setdefault(key, []).append(result)

    def best_layers(self, site: str, probe: str) -> dict[str, Layer]:
        """By feature the layer of the unit that is best on validation, the first of equal ones.

        Features without validation rows, or without chunks so far, are left out.
        """
        best: dict[str, Layer] = {}
        for feature in self._scored:
            chunks = self._in_order(self._chunks.get((feature, site, probe), []))
            values = [np.nanmax(c.evidence.validation, initial=-1.0) for c in chunks]
            if chunks and max(values) >= 0:
                evidence = chunks[int(np.argmax(values))].evidence
                best[feature] = (evidence.streams[0], int(evidence.units[0, 0]))
        return best

    def finish(self) -> Evaluation:
        """Test the maps, find their best units, and put everything together."""
        self._chunks = {key: self._in_order(chunks) for key, chunks in self._chunks.items()}
        maps = [merge_units([c.evidence for c in chunks]) for chunks in self._chunks.values()]
        features = dict.fromkeys(feature for feature, _, _ in self._chunks)
        rows = [row for feature in features for row in self._corpus_rows[feature]]
        best, tests, caveats = [], [], self._task_caveats(features)
        for evidence, chunks in zip(maps, self._chunks.values(), strict=True):
            scored = self._scored[evidence.feature]
            control = _joined([chunk.control for chunk in chunks])
            findings = self._judge(evidence, chunks, control)
            main_rows = [row for chunk in chunks for row in chunk.accuracy_rows]
            for row, columns in zip(main_rows, findings.columns(), strict=True):
                row.update(columns)
            rows += [row for chunk in chunks for row in chunk.rows]
            if not is_whole_layer(evidence.site) and not is_comparator(evidence.probe):
                others = [m for m in maps if m.feature == evidence.feature]
                rows += paired_gains(evidence, others, scored)
            best.append(findings.best)
            tests.append(findings.summary)
            if evidence.site == HEADS:
                caveats += map_caveats(evidence, control, scored, findings.summary)
        penalties = {
            key: [penalty for chunk in chunks for penalty in chunk.penalties]
            for key, chunks in self._chunks.items()
        }
        return Evaluation(rows, maps, best, tests, list(dict.fromkeys(caveats)), penalties)

    def _in_order(self, chunks: list[ChunkResult]) -> list[ChunkResult]:
        """The chunks of a map by layer."""

        def place(chunk: ChunkResult) -> int:
            evidence = chunk.evidence
            layer = (evidence.streams[0], int(evidence.units[0, 0]))
            return self.order.place(evidence.site, layer)

        return sorted(chunks, key=place)

    def _begin(self, task: Task, problems: Sequence[Problem]) -> None:
        """What all maps of a feature share: scored rows, draws, baselines of the corpus."""
        if task.feature in self._scored:
            return
        (positions,) = positions_by_role(problems)[Role.REAL]
        real = [problems[position] for position in positions]
        predicted = {MAJORITY: _by_fold(real, lambda p: baselines.majority(task, p))}
        if self.lexical and task.level in ("word", "span"):
            predicted[LEXICAL] = _by_fold(real, lambda p: baselines.lexical(task, p))
        elif self.lexical and self.texts is not None:
            texts = self.texts(task)
            predicted[BAG_OF_WORDS] = _by_fold(
                real, lambda p: baselines.bag_of_words(task, p, texts)
            )
        scored = ScoredRows.of(task, real, predicted, self._draws(task, real), self.metrics)
        self._scored[task.feature] = scored
        rows = self._corpus_rows[task.feature] = []
        select = np.any([p.select for p in real], axis=0)
        for name, classes in predicted.items():
            place = Place(task.feature, CORPUS, name)
            rows += metric_rows([place], classes[None, scored.rows], scored)
            if select.any():
                accuracy = float((classes == task.labels)[select].mean())
                rows.append(place.row("validation", "accuracy", accuracy, n=int(select.sum())))

    def _draws(self, task: Task, real: Sequence[Problem]) -> Draws | None:
        if not self.evaluation.bootstrap:
            return None
        rows = np.any([problem.score for problem in real], axis=0)
        return draw_groups(
            len(np.unique(task.groups[rows])),
            self.evaluation.bootstrap,
            seed=self.seed,
            confidence=self.evaluation.confidence,
        )

    def _judge(
        self, evidence: MapEvidence, chunks: Sequence[ChunkResult], control: Array | None
    ) -> MapFindings:
        """Against the majority, and against the control where there is one."""
        scored = self._scored[evidence.feature]
        return judge_map(
            evidence,
            baseline=scored.totals(MAJORITY),
            control=control,
            permuted=_joined([chunk.permuted_gains for chunk in chunks]),
            draws=scored.draws,
            choose_on_validation=not scored.folds,
            level=self.significance.level,
            seed=self.seed,
        )

    def _task_caveats(self, features: Iterable[str]) -> list[str]:
        return [
            caveat
            for feature in features
            for caveat in task_caveats(
                self._scored[feature],
                self.group_name,
                self.significance.level,
                permutations=self.significance.permutations,
            )
        ]


def _by_fold(problems: Sequence[Problem], predict: Callable[[Problem], Predictions]) -> Predictions:
    """Predictions (n,) where each row's comes from the problem that scores it."""
    predicted = predict(problems[0])
    for problem in problems[1:]:
        predicted = np.where(problem.score, predict(problem), predicted)
    return predicted


def _joined(parts: Sequence[Array | None]) -> Array | None:
    """The chunks' arrays one after another; all chunks of a map have them, or none."""
    arrays = [part for part in parts if part is not None]
    assert len(arrays) in (0, len(parts)), "chunks of one map have the same problems"
    return np.concatenate(arrays) if arrays else None
