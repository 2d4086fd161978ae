"""From a configuration to the sites that are extracted and the problems fitted on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from probes.activations.cache import Cache
from probes.config import EvaluationConfig, ModelConfig, RunConfig, SignificanceConfig
from probes.corpora.tasks import Task
from probes.evaluation.evidence_problems import evidence_problems
from probes.interventions.erasure import erase_task
from probes.models.handle import Handle
from probes.models.loading import open_model
from probes.results.vocabulary.comparators import ERASED, RANDOM_INIT
from probes.results.vocabulary.sites import HEADS, RESIDUAL
from probes.training.problems import ActivationSource, ProblemSet

TRAINED = "trained"
"""The model as it is; ``RANDOM_INIT`` is the same architecture with fresh weights."""


def wanted_sites(
    config: RunConfig, model: ModelConfig, handle: Handle, cache_dir: Path
) -> list[tuple[str, Handle, list[str]]]:
    """Which kinds of sites are read of which model: ``(trained or random_init, model, sites)``.

    model: the settings with which ``handle`` was opened.
    """
    sites = [config.site]
    if config.baseline.residual and config.site == HEADS:
        sites.append(RESIDUAL)
    wanted = [(TRAINED, handle, sites)]
    if config.baseline.random_init and not model.random_init:
        random = open_model(replace(model, random_init=True), cache_dir=cache_dir)
        wanted.append((RANDOM_INIT, random, [config.site]))
    return wanted


def make_sources(
    config: RunConfig,
    caches: dict[str, dict[str, Cache]],
    tasks: Sequence[Task],
    erased: Task | None = None,
) -> list[ActivationSource]:
    """All that is fitted: the run's own site with its evidence, baselines without.

    caches: by name of the model (``trained``, ``random_init``) and kind of site.
    erased: a feature that is erased from the same heads before they are probed again (amnesic
        check).

    Raises:
        UserError: these labels and groups cannot give the evidence.
    """
    evidence = tuple(
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
        for task in tasks
    )
    # Baselines are compared with, not tested: they need the labels alone.
    without = EvaluationConfig(bootstrap=config.evaluation.bootstrap, control=False)
    plain = tuple(
        ProblemSet(
            task,
            evidence_problems(task, without, SignificanceConfig(), config.split, seed=config.seed),
        )
        for task in tasks
    )
    trained = caches[TRAINED]
    together = plain if config.baseline.all_heads and config.site == HEADS else ()
    sources = [ActivationSource(config.site, trained[config.site], evidence, together)]
    sources += [
        ActivationSource(site, cache, plain)
        for site, cache in trained.items()
        if site != config.site
    ]
    if RANDOM_INIT in caches:
        cache = caches[RANDOM_INIT][config.site]
        sources.append(ActivationSource(config.site, cache, plain, probe=RANDOM_INIT))
    if erased is not None:
        edit = erase_task(erased)
        sources.append(
            ActivationSource(config.site, trained[config.site], plain, probe=ERASED, edit=edit)
        )
    return sources
