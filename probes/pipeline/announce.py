"""What a run will do and how long that takes, said in time to change one's mind."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from probes.activations.cache import Cache
from probes.activations.start import ExtractionStart
from probes.config import LinearConfig, RunConfig, SignificanceConfig
from probes.core.files import size
from probes.core.shown_progress import in_words
from probes.corpora.tasks import Task
from probes.pipeline.fit_plan import TRAINED, FitPlan, layer_order
from probes.results.vocabulary.comparators import RANDOM_INIT
from probes.results.vocabulary.methods import PROBE
from probes.results.vocabulary.sites import SITES
from probes.training.data import plan_parts
from probes.training.fit_cost import linear_seconds
from probes.training.parts import PlannedPart

log = logging.getLogger(__name__)

IntArray = npt.NDArray[np.int32]


@dataclass
class Announcer:
    """Makes the tasks as soon as the rows are known, and says once what the run will do."""

    config: RunConfig
    make_tasks: Callable[[IntArray], tuple[list[Task], Task | None]]
    """The tasks of a run, and the one that is erased, on the given rows' units."""
    memory_budget: int
    _said: bool = False
    _made: tuple[list[Task], Task | None] | None = None
    _units: IntArray = field(default_factory=lambda: np.empty(0, np.int32))

    def tasks(self, units: IntArray) -> tuple[list[Task], Task | None]:
        """The tasks on these rows, made once.

        Raises:
            UserError: what ``make_tasks`` refuses.
        """
        if self._made is None or not np.array_equal(units, self._units):
            self._made, self._units = self.make_tasks(units), units
            for task in self._made[0]:
                log.info("%s", task.summary())
        return self._made

    def started(self, start: ExtractionStart) -> None:
        """Say what was planned when the first batch is done.

        Raises:
            UserError: labels, groups or a memory budget that the fits could not do with.
        """
        tasks, erased = self.tasks(start.units)
        models = 2 if self.config.baseline.random_init else 1
        seconds = start.seconds * models
        n_bytes = sum(cache.n_bytes for cache in start.caches.values())
        if models == 2:
            n_bytes += start.caches[self.config.site].n_bytes
        lines = [
            f"reading {start.sequences:,} texts of {start.tokens:,} tokens: {len(start.units):,} "
            f"rows, {size(n_bytes)} of cache ({_layers(start.caches)}); about {in_words(seconds)} "
            f"at {start.tokens_per_second:,.0f} tokens/s"
        ]
        if PROBE in self.config.methods and self.config.site in start.caches:
            lines.append(self._fits(start.caches, tasks, erased))
            self._said = True
        log.info("this run: %s", "\n  ".join(lines))

    def extracted(self, caches: Mapping[str, Cache]) -> tuple[list[Task], Task | None]:
        """The tasks on the rows of these caches; says what is fitted, unless it was said before."""
        tasks, erased = self.tasks(caches[self.config.site].rows["unit"])
        if PROBE in self.config.methods and not self._said:
            log.info("this run: %s", self._fits(caches, tasks, erased))
        return tasks, erased

    def _fits(self, caches: Mapping[str, Cache], tasks: list[Task], erased: Task | None) -> str:
        config = self.config
        # Permutations are counted, not drawn: their labels may be many times the task's.
        counted = replace(config, significance=SignificanceConfig())
        by_model: dict[str, Mapping[str, Cache]] = {TRAINED: caches}
        if config.baseline.random_init:
            by_model[RANDOM_INIT] = {config.site: caches[config.site]}
        plan = FitPlan(counted, tasks, erased, layer_order(caches))
        planned, _ = plan_parts(plan.sources(by_model), config.probe.name, self.memory_budget)
        parts = [(part, self._permutations(part)) for part in planned]
        time = ""
        if isinstance(config.probe, LinearConfig):
            time = f"; about {in_words(linear_seconds(parts, config.probe))}"
        return f"fitting {_probes(parts)}{time}"

    def _permutations(self, planned: PlannedPart) -> int:
        """Problems that a test by permutations adds: those of the run's own map."""
        own = (self.config.site, self.config.probe.name)
        if (planned.part.site, planned.part.probe) != own:
            return 0
        return self.config.significance.permutations * max(1, self.config.split.folds)


def _layers(caches: dict[str, Cache]) -> str:
    counts = [f"{SITES[site].label}: {len(cache.layers)}" for site, cache in caches.items()]
    return "layers of " + ", ".join(counts)


def _probes(parts: Sequence[tuple[PlannedPart, int]]) -> str:
    counts: dict[str, int] = {}
    for planned, more in parts:
        site, problems = SITES[planned.part.site].label, len(planned.problem_set.problems) + more
        counts[site] = counts.get(site, 0) + len(planned.part.heads) * problems
    listed = ", ".join(f"{count:,} of {site}" for site, count in counts.items())
    return f"{sum(counts.values()):,} probes ({listed})"
