"""What a run does, from top to bottom: each line makes one thing out of those before it."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from probes.config import RunConfig
from probes.config.checks import check
from probes.corpora.tasks import Task, make_task
from probes.evaluation.evaluate import Evaluator
from probes.evaluation.own_metrics import check_on_rows, load_metrics
from probes.models.depth import chosen_layers
from probes.models.handle import Handle
from probes.models.loading import open_model
from probes.pipeline.announce import Announcer
from probes.pipeline.disk_space import check_space, probe_bytes
from probes.pipeline.fit_identity import fit_identity, node_name
from probes.pipeline.fit_plan import TRAINED, FitPlan, wanted_sites
from probes.pipeline.fits import Fits
from probes.pipeline.layer_passes import Activations
from probes.pipeline.methods import MethodsOfRun, tasks_of_maps
from probes.pipeline.part_store import PartStore
from probes.pipeline.prepare import PreparedRun, prepare
from probes.pipeline.publish import publish
from probes.pipeline.recorder import RunRecorder
from probes.reporting.loggers import make_logger
from probes.results.vocabulary.methods import PROBE
from probes.simplified.store import resolve, training_curve
from probes.statistics.metrics import Metric
from probes.training.custom import load_probe
from probes.training.trainer import accelerator_of

log = logging.getLogger(__name__)


def run(config: RunConfig, run_dir: Path) -> None:
    """Train the probes that ``config`` asks for and leave everything in ``run_dir``.

    Raises:
        UserError: what is wrong, what is allowed and which override fixes it.
    """
    check(config)
    run_prepared(prepare(config), run_dir)


def run_prepared(prepared: PreparedRun, run_dir: Path) -> None:
    """Carry out a run that was prepared; ``run.json``, written last, makes it a finished one.

    Raises:
        UserError: the model does not suit the settings, or the labels and groups cannot give the
            evidence that is asked for; found before anything is fitted.
    """
    config = prepared.config
    check_space(run_dir)
    metrics = load_metrics(config.evaluation.metrics)
    load_probe(config.probe)  # before the model is opened: a wrong name is found now
    recorder = RunRecorder(config)
    model = resolve(config.model, prepared.cache_dir, config.trainer)
    handle = open_model(model, cache_dir=prepared.cache_dir)
    log.info("model %s: %s, %s on %s", handle.name, handle.kind, handle.dtype, handle.device)
    if handle.dtype_reason:
        log.info("model.dtype=auto: %s", handle.dtype_reason)
    if handle.chat is not None:
        log.info("model.chat=%s: %s", model.chat, handle.chat.summary())
    layers = chosen_layers(config.layers, handle, config.site)
    announcer = Announcer(
        config, lambda units: _make_tasks(prepared, units), prepared.memory_budget
    )
    wanted = wanted_sites(config, model, handle, prepared.cache_dir)
    with Activations(
        prepared, wanted, layers, run_dir, recorder.phase, announcer.started
    ) as activations:
        _fit_and_publish(
            prepared, run_dir, recorder, handle, layers, activations, announcer, metrics
        )


def _fit_and_publish(
    prepared: PreparedRun,
    run_dir: Path,
    recorder: RunRecorder,
    handle: Handle,
    layers: list[int] | None,
    activations: Activations,
    announcer: Announcer,
    metrics: Sequence[Metric],
) -> None:
    """The run from its activations on."""
    config, corpus, features = prepared.config, prepared.corpus, prepared.features
    caches = activations.first()
    if config.until == "extraction":
        log.info("until=extraction: the activations are stored, nothing is fitted")
        return
    units = caches[TRAINED][config.site].rows["unit"]
    tasks, erased = announcer.extracted(caches[TRAINED])
    plan = FitPlan(config, tasks, erased, activations.order)
    probing = PROBE in config.methods
    sources = plan.sources(caches) if probing else []
    for problem_set in plan.evidence if probing else ():
        check_on_rows(metrics, problem_set.task, problem_set.problems)
    check_space(run_dir, probe_bytes(sources, config.probe))
    evaluator = Evaluator(
        config.evaluation,
        config.significance,
        seed=config.seed,
        group_name=corpus.group_name,
        texts=lambda task: [corpus.texts[example] for example in task.examples],
        lexical=config.baseline.lexical,
        metrics=metrics,
        order=plan.order,
    )
    # The checksums of what later passes will read are not known yet.
    identity = fit_identity(config, corpus, handle, [] if activations.in_passes else sources)
    store = PartStore(run_dir, identity, node_name(accelerator_of(config.trainer)))
    with make_logger(config.logger, run_dir, recorder.plain_config()) as logger:
        logger.log_curve(training_curve(config.model, prepared.cache_dir))
        fits = Fits(config, evaluator, store, prepared.memory_budget, logger.lightning)
        with recorder.phase("fit"):
            fits.fit(sources)
        if probing:
            for caches in activations.rest():
                with recorder.phase("fit"):
                    fits.fit(plan.sources(caches))
            best = evaluator.best_layers(config.site, config.probe.name)
            left = {layer for of_site in plan.left(best).values() for _, layer in of_site}
            for caches in activations.holding(left):
                with recorder.phase("fit"):
                    fits.fit(plan.sources_of_best(caches, best))
        with recorder.phase("fit"):
            evaluation = evaluator.finish()
        methods = MethodsOfRun(
            dataclasses.replace(config, layers=layers),
            corpus,
            features,
            handle,
            prepared.cache_dir,
            prepared.memory_budget,
        )
        if methods.methods:
            with recorder.phase("effects"):
                effects = methods.run()
            evaluation = evaluation.with_effects(effects, methods.caveats)
            tasks += tasks_of_maps(effects, corpus, units, tasks, config.min_count)
        record = recorder.record(
            corpus,
            handle,
            *activations.described(),
            tasks,
            evaluation,
            fits.summary,
            run_dir,
            metrics,
        )
        record.environment.update(store.mixed_nodes())
        table, record = publish(
            run_dir,
            evaluation,
            plan.in_order(fits.banks),
            record,
            recorder,
            level=config.significance.level,
        )
        store.remove()
        logger.log_run(table, record)


def _make_tasks(
    prepared: PreparedRun, units: npt.NDArray[np.int32]
) -> tuple[list[Task], Task | None]:
    """The tasks of the features on these rows, and the one that is erased."""
    config, corpus = prepared.config, prepared.corpus
    tasks = [make_task(corpus, f, units, min_count=config.min_count) for f in prepared.features]
    erase = config.evaluation.erase
    return tasks, make_task(corpus, erase, units, min_count=config.min_count) if erase else None
