"""Along which direction each head is pushed: from training rows alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from probes.activations.cache import Cache
from probes.activations.extraction import extract
from probes.config import LinearConfig
from probes.corpora.corpus import TEXT_LEVELS, TRAIN
from probes.corpora.tasks import Task, make_task
from probes.interventions.directions import Push, class_difference, class_weight, push_along
from probes.models.sites import Site
from probes.pipeline.steering_of_run import SteeringOfRun
from probes.results.vocabulary.sites import HEADS
from probes.training.chunk_fit import ChunkFit
from probes.training.fit import fit_banks
from probes.training.problems import ActivationSource, ProblemSet, real_problem


@dataclass(frozen=True)
class TrainingRows:
    """Outputs of heads on the training rows of a feature, where its probes read."""

    cache: Cache
    task: Task
    train: npt.NDArray[np.bool_]
    """(n,) of the task's rows."""

    def of(self, site: Site, head: int) -> Tensor:
        """(n, D) of one head, a copy."""
        rows = torch.from_numpy(self.task.rows[self.train])
        return self.cache.layer(site.layer, site.stream)[head][rows]


def training_rows(run: SteeringOfRun, name: str, heads: Sequence[tuple[Site, int]]) -> TrainingRows:
    """Where the probes of the feature read, in the layers of these heads."""
    config = run.config
    cache = extract(
        run.handle,
        run.corpus,
        sites=[HEADS],
        layers=sorted({site.layer for site, _ in heads}),
        position=config.position,
        extraction=config.extraction,
        cache_dir=run.cache_dir,
        truncate=config.truncate,
        whole_texts=run.corpus.feature(name).level in TEXT_LEVELS,
        memory_budget=run.memory_budget,
    )[HEADS]
    task = make_task(run.corpus, name, cache.rows["unit"], min_count=config.min_count)
    return TrainingRows(cache, task, task.split == TRAIN)


def directions(run: SteeringOfRun, rows: TrainingRows, code: int) -> Callable[[Site, int], Push]:
    """The push of a head along its own direction of the class."""
    is_class = torch.from_numpy(rows.task.labels[rows.train] == code)
    if run.config.steering.direction == "probe":
        weights = _probe_weights(run, rows)

        def along(site: Site, head: int) -> Push:
            weight = weights[site.stream, site.layer, head]
            return push_along(site, head, class_weight(weight, code), rows.of(site, head))

        return along

    def along_means(site: Site, head: int) -> Push:
        z = rows.of(site, head)
        return push_along(site, head, class_difference(z, is_class), z)

    return along_means


def _probe_weights(run: SteeringOfRun, rows: TrainingRows) -> dict[tuple[str, int, int], Tensor]:
    """(K, D) weights for raw outputs of each head's linear probe, by stream, layer and head."""
    problems = ProblemSet(rows.task, (real_problem(rows.task),))
    config = run.config.probe
    weights: dict[tuple[str, int, int], Tensor] = {}

    def on_fit(fit: ChunkFit) -> None:
        bank = fit.bank(0)
        for head, weight in zip(bank.heads, bank.tensors["weight"], strict=True):
            weights[bank.stream, bank.layer, head] = weight.cpu().clone()

    fit_banks(
        [ActivationSource(HEADS, rows.cache, (problems,))],
        config if isinstance(config, LinearConfig) else LinearConfig(),
        run.config.trainer,
        memory_budget=run.memory_budget,
        on_fit=on_fit,
    )
    return weights
