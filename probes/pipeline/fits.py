"""The fits of a run: parts whose results are stored already are not fitted again."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from lightning.pytorch.loggers import Logger

from probes.config import RunConfig
from probes.evaluation.evaluate import Evaluator
from probes.evaluation.part_result import PartResult
from probes.pipeline.part_store import PartStore
from probes.training.bank import ProbeBank
from probes.training.chunk_fit import ChunkFit
from probes.training.convergence import Convergence
from probes.training.data import plan_parts
from probes.training.fit import FitSummary, fit_banks
from probes.training.parts import Part
from probes.training.problems import ActivationSource

log = logging.getLogger(__name__)


class Fits:
    """Fits part by part, hands the results to an evaluator, and keeps the banks.

    Each part is stored when it is fitted, so that a kill costs one part, and a run that was killed
    ends in the same bytes as an undisturbed one.
    """

    def __init__(
        self,
        config: RunConfig,
        evaluator: Evaluator,
        store: PartStore,
        memory_budget: int,
        loggers: Sequence[Logger] = (),
    ) -> None:
        """memory_budget: bytes of one chunk of activations. loggers: of the metrics of chunks."""
        self.config, self.evaluator, self.store = config, evaluator, store
        self.memory_budget, self.loggers = memory_budget, loggers
        self.banks: list[ProbeBank] = []
        """Of the real problem of each part."""
        self.summary = FitSummary(0, 0.0)
        """Of all that was fitted, whichever process did it."""
        self._results = store.load()
        if self._results:
            log.info("%d parts of the fits were stored before", len(self._results))

    def fit(self, sources: Sequence[ActivationSource]) -> None:
        """Fit all problems of these sources, and hand them to the evaluator.

        Raises:
            UserError: a configuration that cannot be fitted.
        """
        plan, notes = plan_parts(sources, self.config.probe.name, self.memory_budget)
        chunks = self.fit_only(sources, [planned.part for planned in plan])
        self.summary += FitSummary(0, 0.0, tuple(notes), chunks=chunks)
        for planned in plan:  # in this order, whatever was fitted before
            result, problems = self._results[planned.part], planned.problem_set
            self.evaluator.collect(result.chunk, problems.task, problems.problems)
            self.banks.append(result.bank)
            name = f"{planned.part.feature}, {planned.part.site}"
            self.summary += FitSummary(
                result.probes, result.seconds, convergence={name: result.convergence}
            )

    def fit_only(self, sources: Sequence[ActivationSource], parts: Collection[Part]) -> int:
        """Fit and store these parts of the sources; how many chunks were read."""
        return fit_banks(
            sources,
            self.config.probe,
            self.config.trainer,
            memory_budget=self.memory_budget,
            on_fit=self._on_fit,
            loggers=self.loggers,
            first_step=self.summary.chunks,
            only=set(parts) - self._results.keys(),
        ).chunks

    def _on_fit(self, fit: ChunkFit) -> None:
        convergence = Convergence()
        for fitted in fit.fits:
            convergence.add(fitted)
        self._results[fit.part] = result = PartResult(
            part=fit.part,
            bank=fit.bank(),
            chunk=self.evaluator.evaluate(fit),
            convergence=convergence,
            probes=len(fit.heads) * len(fit.fits),
            seconds=fit.seconds,
        )
        self.store.save(result)
