"""What every process that works on a run makes of its configuration, whichever part it does."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from probes.config import ModelConfig
from probes.corpora.tasks import Task, make_task
from probes.evaluation.evaluate import Evaluator
from probes.evaluation.own_metrics import load_metrics
from probes.models.depth import chosen_layers
from probes.models.handle import Handle
from probes.models.loading import open_model
from probes.pipeline.fit_plan import FitPlan, wanted_sites
from probes.pipeline.local_device import on_own_device
from probes.pipeline.methods import MethodsOfRun
from probes.pipeline.prepare import PreparedRun
from probes.simplified.store import resolve
from probes.statistics.metrics import Metric
from probes.training.custom import load_probe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """A run whose model is known, before anything heavy is done."""

    prepared: PreparedRun
    metrics: tuple[Metric, ...]
    model: ModelConfig
    """Of the model as it is opened."""
    handle: Handle

    @cached_property
    def layers(self) -> list[int] | None:
        """Those that are read; None: all."""
        config = self.prepared.config
        return chosen_layers(config.layers, self.handle, config.site)

    @classmethod
    def of(cls, prepared: PreparedRun) -> Work:
        """Open the model, without its weights.

        Raises:
            UserError: the model, a probe or a metric of the user's own cannot be used.
        """
        config = prepared.config
        metrics = load_metrics(config.evaluation.metrics)
        load_probe(config.probe)  # before the model is opened: a wrong name is found now
        model = on_own_device(resolve(config.model, prepared.cache_dir, config.trainer), config)
        handle = open_model(model, cache_dir=prepared.cache_dir)
        log.info("model %s: %s, %s on %s", handle.name, handle.kind, handle.dtype, handle.device)
        if handle.dtype_reason:
            log.info("model.dtype=auto: %s", handle.dtype_reason)
        if handle.chat is not None:
            log.info("model.chat=%s: %s", model.chat, handle.chat.summary())
        return cls(prepared, metrics, model, handle)

    @cached_property
    def wanted(self) -> list[tuple[str, Handle, list[str]]]:
        """Which kinds of sites are read of which model."""
        prepared = self.prepared
        return wanted_sites(prepared.config, self.model, self.handle, prepared.cache_dir)

    def tasks(self, units: npt.NDArray[np.int32]) -> tuple[list[Task], Task | None]:
        """The tasks of the features on these rows, and the one that is erased."""
        prepared, config = self.prepared, self.prepared.config

        def task(feature: str) -> Task:
            return make_task(prepared.corpus, feature, units, min_count=config.min_count)

        erase = config.evaluation.erase
        return [task(feature) for feature in prepared.features], task(erase) if erase else None

    def methods(self) -> MethodsOfRun:
        """The methods beside probes."""
        prepared = self.prepared
        return MethodsOfRun(
            replace(prepared.config, layers=self.layers),
            prepared.corpus,
            prepared.features,
            self.handle,
            prepared.cache_dir,
            prepared.memory_budget,
        )

    def evaluator(self, plan: FitPlan) -> Evaluator:
        """What evaluates the fits of a plan."""
        config, corpus = self.prepared.config, self.prepared.corpus
        return Evaluator(
            config.evaluation,
            config.significance,
            seed=config.seed,
            group_name=corpus.group_name,
            texts=lambda task: [corpus.texts[example] for example in task.examples],
            lexical=config.baseline.lexical,
            metrics=self.metrics,
            order=plan.order,
        )
