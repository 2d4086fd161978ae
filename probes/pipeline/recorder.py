"""The record of a run: how long its phases took, on what, and how much memory was used."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from probes.activations.cache import Cache
from probes.config import LinearConfig, RunConfig, SplitConfig
from probes.core.environment import environment, without_home
from probes.core.memory import peak_memory_bytes
from probes.core.version import __version__
from probes.corpora.corpus import SPLITS, TEST, TRAIN, VALIDATION, Corpus
from probes.corpora.tasks import Task
from probes.evaluation.caveats import penalty_caveats
from probes.evaluation.evaluate import Evaluation
from probes.evaluation.own_metrics import own_records
from probes.models.handle import Handle
from probes.pipeline.identity import job_identity
from probes.results.record import (
    CorpusRecord,
    ModelRecord,
    RunRecord,
    StreamRecord,
    TaskRecord,
)
from probes.statistics.metrics import Metric
from probes.training.fit import FitSummary

PARTS = (TRAIN, VALIDATION, TEST)


class RunRecorder:
    """Times the phases of one run and collects its record."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.created = datetime.now(UTC).isoformat(timespec="seconds")
        self.timings: dict[str, float] = {}
        """``<phase>_seconds`` of each finished phase."""
        self.on_phase: Callable[[str], None] = lambda name: None
        """Is told the name of a phase when it begins."""

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what happens inside as ``<name>_seconds``, added to earlier times of that name."""
        self.on_phase(name)
        start = time.perf_counter()
        yield
        seconds = self.timings.get(f"{name}_seconds", 0.0) + time.perf_counter() - start
        self.timings[f"{name}_seconds"] = round(seconds, 3)

    def plain_config(self) -> dict[str, Any]:
        """The configuration as plain data, with ``~`` for the user's home directory."""
        return without_home(dataclasses.asdict(self.config))

    def record(
        self,
        corpus: Corpus,
        handle: Handle,
        main: Cache,
        caches: dict[str, Cache],
        tasks: Sequence[Task],
        evaluation: Evaluation,
        fit: FitSummary,
        run_dir: Path,
        metrics: Sequence[Metric] = (),
    ) -> RunRecord:
        """All of ``run.json`` as far as it is known before the report is written.

        main: of the run's own site. caches: those that stay, by kind of site.
        """
        seconds = self.timings["extract_seconds"]
        return RunRecord(
            version=__version__,
            created=self.created,
            model=ModelRecord(
                without_home(handle.name), handle.fingerprint, handle.kind, _streams(main)
            ),
            corpus=_corpus_record(corpus, self.config.split, main),
            tasks={task.feature: _task_record(task) for task in tasks},
            # A run is no atlas: the key is from when both had one configuration.
            config={**self.plain_config(), "atlas": None},
            environment=environment(handle.device),
            timings=dict(self.timings, solve_seconds=round(fit.seconds, 3)),
            rows=main.n_rows,
            rows_per_second=round(main.n_rows / seconds, 1) if main.fresh else None,
            tokens_per_second=round(main.manifest["tokens"] / seconds, 1) if main.fresh else None,
            peak_memory_bytes=peak_memory_bytes(),
            caches={
                site: os.path.relpath(cache.directory, run_dir) for site, cache in caches.items()
            },
            best=evaluation.best,
            tests=evaluation.tests,
            metrics=own_records(metrics),
            caveats=[*evaluation.caveats, *self._penalty_caveats(evaluation), *fit.notes],
            identity=job_identity(self.config, corpus),
        )

    def _penalty_caveats(self, evaluation: Evaluation) -> list[str]:
        probe = self.config.probe
        if not isinstance(probe, LinearConfig):
            return []
        return penalty_caveats(evaluation.penalties, self.config.site, probe.l2)


def _streams(cache: Cache) -> list[StreamRecord]:
    names = list(dict.fromkeys(layer.stream for layer in cache.layers))
    return [
        StreamRecord(
            name,
            [layer.layer for layer in cache.layers if layer.stream == name],
            [layer.units for layer in cache.layers if layer.stream == name],
        )
        for name in names
    ]


def _corpus_record(corpus: Corpus, split: SplitConfig, cache: Cache) -> CorpusRecord:
    counts = cache.manifest["counts"]
    empty = counts.get("empty_texts", 0)
    left_out = [f"{empty} texts are empty to the tokenizer and left out"] if empty else []
    groups = np.array(corpus.groups, dtype=object)
    return CorpusRecord(
        name=corpus.name,
        fingerprint=corpus.fingerprint,
        group_name=corpus.group_name,
        examples={SPLITS[part]: int((corpus.splits == part).sum()) for part in PARTS},
        groups={SPLITS[part]: len(set(groups[corpus.splits == part])) for part in PARTS},
        split=_split_sentence(corpus, split),
        notes=[*corpus.notes, *left_out, *words_note(counts)],
    )


def words_note(counts: Mapping[str, int]) -> list[str]:
    """How many tokens words are, in one line; none without words, and for caches that earlier
    versions wrote.

    >>> words_note({"words": 200, "split_words": 50, "word_tokens": 300})
    ['50 of 200 words and spans (25%) are several tokens to the model, which has 1.50 for one']
    """
    words, split = counts.get("words", 0), counts.get("split_words", 0)
    if not words:
        return []
    mean = counts["word_tokens"] / words
    share = f"{split:,} of {words:,} words and spans ({split / words:.0%})"
    return [f"{share} are several tokens to the model, which has {mean:.2f} for one"]


def _split_sentence(corpus: Corpus, split: SplitConfig) -> str:
    if split.folds:
        return (
            f"Nested cross-validation with {split.folds} folds by {corpus.group_name}: each fold "
            "is reported once, by probes that were trained and chosen on the others."
        )
    if split.source == "group":
        return (
            f"Drawn by {corpus.group_name} (seed {split.seed}): {split.validation:.0%} of the "
            f"groups for validation, {split.test:.0%} for test."
        )
    return (
        f"As the corpus ships it; parts that it does not ship are drawn from train by "
        f"{corpus.group_name} (seed {split.seed})."
    )


def _task_record(task: Task) -> TaskRecord:
    best, accuracy = task.majority
    return TaskRecord(
        level=task.level,
        classes=list(task.classes),
        counts={SPLITS[part]: task.counts(part).tolist() for part in PARTS},
        groups={SPLITS[p]: len(np.unique(task.groups[task.split == p])) for p in PARTS},
        majority=task.classes[best],
        majority_accuracy=accuracy,
        dropped=dict(task.dropped),
        dropped_in_train=dict(task.dropped_in_train),
    )
