"""The fits of a run: parts whose results are stored already are not fitted again."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

from probes.config import RunConfig
from probes.evaluation.evaluate import Evaluator
from probes.evaluation.part_result import PartResult
from probes.pipeline.engine import LOCAL, Engine
from probes.pipeline.part_store import PartStore
from probes.reporting.tracking.run_logger import RunLogger
from probes.statistics.maps import Layer
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
        logger: RunLogger | None = None,
        engine: Engine = LOCAL,
    ) -> None:
        """memory_budget: bytes of one chunk of activations. logger: is told of each part.
        engine: what fits the parts, where it is not this process."""
        self.config, self.evaluator, self.store = config, evaluator, store
        self.memory_budget, self.logger = memory_budget, logger or RunLogger()
        self.engine = engine
        self.banks: list[ProbeBank] = []
        """Of the real problem of each part."""
        self.summary = FitSummary(0, 0.0)
        """Of all that was fitted, whichever process did it."""
        self.parts: list[Part] = []
        """All that were fitted, or stored before."""
        self._results = store.load()
        if self._results:
            log.info("%d parts of the fits were stored before", len(self._results))

    def fit(
        self, sources: Sequence[ActivationSource], best: Mapping[str, Layer] | None = None
    ) -> None:
        """Fit all problems of these sources, and hand them to the evaluator.

        best: by feature the layer of the best head, where the sources follow from it.

        Raises:
            UserError: a configuration that cannot be fitted.
        """
        plan, notes = plan_parts(sources, self.config.probe.name, self.memory_budget)
        self.engine.fit(plan, self.store, best)
        self._results |= self.store.load()
        stored = [self._results[p.part] for p in plan if p.part in self._results]
        self.logger.log_fits([(result.part, result.chunk.rows) for result in stored])
        chunks = self.fit_only(sources, [planned.part for planned in plan])
        self.summary += FitSummary(0, 0.0, tuple(notes), chunks=chunks)
        for planned in plan:  # in this order, whatever was fitted before
            result, problems = self._results[planned.part], planned.problem_set
            self.evaluator.collect(result.chunk, problems.task, problems.problems)
            self.banks.append(result.bank)
            self.parts.append(planned.part)
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
            loggers=self.logger.lightning,
            first_step=self.summary.chunks,
            only=set(parts) - self._results.keys(),
        ).chunks

    def _on_fit(self, fit: ChunkFit) -> None:
        self._results[fit.part] = result = part_result(fit, self.evaluator)
        self.store.save(result)
        self.logger.log_fits([(result.part, result.chunk.rows)])


def part_result(fit: ChunkFit, evaluator: Evaluator) -> PartResult:
    """What is kept of one fit."""
    convergence = Convergence()
    for fitted in fit.fits:
        convergence.add(fitted)
    return PartResult(
        part=fit.part,
        bank=fit.bank(),
        chunk=evaluator.evaluate(fit),
        convergence=convergence,
        probes=len(fit.heads) * len(fit.fits),
        seconds=fit.seconds,
    )
