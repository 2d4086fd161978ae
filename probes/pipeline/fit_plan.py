"""From a configuration to the sites that are extracted and the problems fitted on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from probes.activations.cache import Cache
from probes.config import EvaluationConfig, ModelConfig, RunConfig, SignificanceConfig
from probes.corpora.tasks import Task
from probes.evaluation.evidence_problems import evidence_problems
from probes.interventions.erasure import erase_task
from probes.models.handle import Handle
from probes.models.loading import open_model
from probes.pipeline.whole_layers import is_sampled, sampled_layers
from probes.results.vocabulary.comparators import ERASED, RANDOM_INIT
from probes.results.vocabulary.sites import ALL_HEADS, HEADS, RESIDUAL
from probes.statistics.maps import Layer
from probes.training.bank import ProbeBank
from probes.training.problems import ActivationSource, LayerOrder, ProblemSet

TRAINED = "trained"
"""The model as it is; ``RANDOM_INIT`` is the same architecture with fresh weights."""

Caches = Mapping[str, Mapping[str, Cache]]
"""By name of the model (``trained``, ``random_init``) and kind of site."""


def wanted_sites(
    config: RunConfig, model: ModelConfig, handle: Handle, cache_dir: Path
) -> list[tuple[str, Handle, list[str]]]:
    """Which kinds of sites are read of which model: ``(trained or random_init, model, sites)``.

    model: the settings with which ``handle`` was opened.
    """
    sites = [config.site]
    if config.baseline.residual != "none" and config.site == HEADS:
        sites.append(RESIDUAL)
    wanted = [(TRAINED, handle, sites)]
    if config.baseline.random_init and not model.random_init:
        random = open_model(replace(model, random_init=True), cache_dir=cache_dir)
        wanted.append((RANDOM_INIT, random, [config.site]))
    return wanted


def layer_order(caches: Mapping[str, Cache]) -> LayerOrder:
    """That of these caches, by site."""
    return LayerOrder(
        {
            site: [(info.stream, info.layer) for info in cache.layers]
            for site, cache in caches.items()
        }
    )


@dataclass(frozen=True)
class FitPlan:
    """All that a run fits: its own site with the evidence, baselines with the labels alone."""

    config: RunConfig
    tasks: Sequence[Task]
    erased: Task | None
    """A feature that is erased from the same heads before they are probed again (amnesic check)."""
    order: LayerOrder
    """Of the layers that are probed."""

    @property
    def heads(self) -> Sequence[Layer]:
        """The layers of the run's own site."""
        return self.order.layers[self.config.site]

    @cached_property
    def evidence(self) -> tuple[ProblemSet, ...]:
        """Of the run's own site.

        Raises:
            UserError: these labels and groups cannot give the evidence.
        """
        config = self.config
        return tuple(
            ProblemSet(
                task,
                evidence_problems(
                    task,
                    config.evaluation,
                    config.significance,
                    config.split,
                    seeds=config.seeds,
                    seed=config.seed,
                ),
            )
            for task in self.tasks
        )

    @cached_property
    def plain(self) -> tuple[ProblemSet, ...]:
        """Of baselines, which are compared with, not tested: they need the labels alone."""
        config = self.config
        without = EvaluationConfig(bootstrap=config.evaluation.bootstrap, control=False)
        nothing = SignificanceConfig()
        return tuple(
            ProblemSet(
                task, evidence_problems(task, without, nothing, config.split, seed=config.seed)
            )
            for task in self.tasks
        )

    def sources(self, caches: Caches) -> list[ActivationSource]:
        """What is fitted on these caches, whatever comes out."""
        config, trained = self.config, caches[TRAINED]
        together = self._whole(config.baseline.all_heads) if config.site == HEADS else ()
        own = trained[config.site]
        sources = [ActivationSource(config.site, own, self.evidence, together)]
        sources += [
            ActivationSource(site, cache, self._whole(config.baseline.residual))
            for site, cache in trained.items()
            if site != config.site
        ]
        if RANDOM_INIT in caches:
            cache = caches[RANDOM_INIT][config.site]
            sources.append(ActivationSource(config.site, cache, self.plain, probe=RANDOM_INIT))
        if self.erased is not None:
            edit = erase_task(self.erased)
            sources.append(ActivationSource(config.site, own, self.plain, probe=ERASED, edit=edit))
        return sources

    def left(self, best: Mapping[str, Layer]) -> dict[str, frozenset[Layer]]:
        """The layers of the best heads whose whole-layer probes the sample left out, by site.

        best: by feature.
        """
        if self.config.site != HEADS:
            return {}
        baseline, wanted = self.config.baseline, frozenset(best.values())
        left = {}
        for site, choice in ((HEADS, baseline.all_heads), (RESIDUAL, baseline.residual)):
            if is_sampled(choice, self.heads):
                left[site] = wanted - (sampled_layers(choice, self.heads) or frozenset())
        return {site: layers for site, layers in left.items() if layers}

    def sources_of_best(self, caches: Caches, best: Mapping[str, Layer]) -> list[ActivationSource]:
        """The whole-layer probes that are left, on caches that hold these layers."""
        sources = []
        for site, layers in self.left(best).items():
            sets = tuple(
                replace(each, layers=layers & {best[each.task.feature]}, extend=False)
                for each in self.plain
                if each.task.feature in best
            )
            on_units, together = ((), sets) if site == HEADS else (sets, ())
            sources.append(ActivationSource(site, caches[TRAINED][site], on_units, together))
        return sources

    def in_order(self, banks: Sequence[ProbeBank]) -> list[ProbeBank]:
        """The banks by source and layer, as they come where all layers are fitted in one go."""
        site_of = {ALL_HEADS: HEADS}
        sources = list(dict.fromkeys((b.probe, site_of.get(b.site, b.site)) for b in banks))

        def place(bank: ProbeBank) -> tuple[int, int]:
            source = (bank.probe, site_of.get(bank.site, bank.site))
            return sources.index(source), self.order.place(bank.site, (bank.stream, bank.layer))

        return sorted(banks, key=place)

    def _whole(self, choice: str) -> tuple[ProblemSet, ...]:
        """The problem sets of whole-layer probes beside heads.

        They do not go on beyond the default penalties: that takes as long as the others together.
        """
        if choice == "none":
            return ()
        layers = sampled_layers(choice, self.heads)
        return tuple(replace(each, layers=layers, extend=False) for each in self.plain)
