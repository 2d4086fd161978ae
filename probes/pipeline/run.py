"""What a run does, from top to bottom: each line makes one thing out of those before it."""

from __future__ import annotations

import logging
from pathlib import Path

from probes.config import RunConfig
from probes.config.checks import check
from probes.evaluation.own_metrics import check_on_rows
from probes.passes.shards import WHOLE
from probes.pipeline.announce import Announcer
from probes.pipeline.disk_space import check_space, probe_bytes
from probes.pipeline.effect_store import effect_store, remove_effects
from probes.pipeline.engine import Engine
from probes.pipeline.engine_choice import engine_of
from probes.pipeline.fit_identity import fit_identity, node_name
from probes.pipeline.fit_plan import TRAINED, FitPlan
from probes.pipeline.fits import Fits
from probes.pipeline.kept_parts import write_kept
from probes.pipeline.layer_passes import Activations
from probes.pipeline.merged import Merged
from probes.pipeline.methods import MethodsOfRun, tasks_of_maps
from probes.pipeline.part_store import PartStore, part_file
from probes.pipeline.prepare import PreparedRun, prepare
from probes.pipeline.publish import publish
from probes.pipeline.recorder import RunRecorder, words_note
from probes.pipeline.shard_work import do_shard
from probes.pipeline.tracked import facts_of_caches, facts_of_model, logger_of
from probes.pipeline.work import Work
from probes.reporting.tracking.run_logger import RunLogger
from probes.results.vocabulary.methods import PROBE
from probes.simplified.store import training_curve
from probes.training.trainer import accelerator_of

log = logging.getLogger(__name__)


def run(config: RunConfig, run_dir: Path) -> None:
    """Train the probes that ``config`` asks for and leave everything in ``run_dir``.

    Raises:
        UserError: what is wrong, what is allowed and which override fixes it.
    """
    check(config)
    run_prepared(prepare(config), run_dir)


def run_prepared(prepared: PreparedRun, run_dir: Path, merged: Merged | None = None) -> None:
    """Carry out a run that was prepared; ``run.json``, written last, makes it a finished one.

    A process that does a shard of the run leaves its results for ``headprobes merge`` instead.

    merged: what shards of this run, or runs of some of its layers, have fitted.

    Raises:
        UserError: the model does not suit the settings, or the labels and groups cannot give the
            evidence that is asked for; found before anything is fitted.
    """
    check_space(run_dir)
    recorder = RunRecorder(prepared.config)
    with (
        logger_of(prepared, run_dir, recorder.plain_config()) as logger,
        engine_of(prepared) as engine,
    ):
        recorder.on_phase = logger.log_phase
        work = Work.of(prepared)
        logger.log_facts(facts_of_model(work.handle))
        methods = work.methods()
        methods.check()
        announcer = Announcer(prepared.config, work.tasks, prepared.memory_budget)
        with recorder.phase("extract"):
            engine.extract()
        _run_on(engine, work, methods, run_dir, recorder, announcer, merged, logger)


def _run_on(
    engine: Engine,
    work: Work,
    methods: MethodsOfRun,
    run_dir: Path,
    recorder: RunRecorder,
    announcer: Announcer,
    merged: Merged | None,
    logger: RunLogger,
) -> None:
    """The run, with what an engine has extracted."""
    prepared = work.prepared
    with Activations(
        prepared,
        work.wanted,
        work.layers,
        run_dir,
        recorder.phase,
        announcer.started,
        stored_only=merged is not None and merged.stored_only,
    ) as activations:
        _fit_and_publish(
            work, methods, run_dir, recorder, activations, announcer, merged, engine, logger
        )


def _fit_and_publish(
    work: Work,
    methods: MethodsOfRun,
    run_dir: Path,
    recorder: RunRecorder,
    activations: Activations,
    announcer: Announcer,
    merged: Merged | None,
    engine: Engine,
    logger: RunLogger,
) -> None:
    """The run from its activations on."""
    prepared, handle = work.prepared, work.handle
    config, corpus = prepared.config, prepared.corpus
    caches = activations.first()
    logger.log_facts(facts_of_caches(caches[TRAINED]))
    if config.until == "extraction":
        log.info("until=extraction: the activations are stored, nothing is fitted")
        return
    for note in words_note(caches[TRAINED][config.site].manifest["counts"]):
        log.info("%s: %s", corpus.name, note)
    units = caches[TRAINED][config.site].rows["unit"]
    tasks, erased = announcer.extracted(caches[TRAINED])
    plan = FitPlan(config, tasks, erased, activations.order)
    probing = PROBE in config.methods
    sources = plan.sources(caches) if probing else []
    for problem_set in plan.evidence if probing else ():
        check_on_rows(work.metrics, problem_set.task, problem_set.problems)
    check_space(run_dir, probe_bytes(sources, config.probe))
    evaluator = work.evaluator(plan)
    # The checksums of what later passes will read are not known yet.
    identity = fit_identity(prepared, handle, [] if activations.in_passes else sources)
    identity |= engine.machine()
    if merged is not None:
        merged.require_same_run(identity, sources)
    store = PartStore(run_dir, identity, node_name(accelerator_of(config.trainer)), merged)
    if prepared.shard != WHOLE:
        do_shard(work, sources, evaluator, store, methods)
        return
    logger.log_curve(training_curve(config.model, prepared.cache_dir))
    fits = Fits(config, evaluator, store, prepared.memory_budget, logger, engine)
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
                fits.fit(plan.sources_of_best(caches, best), best)
    with recorder.phase("fit"):
        evaluation = evaluator.finish()
    methods.probed = evaluation.maps
    if methods.methods:
        methods.parts = kept = effect_store(prepared, handle, run_dir, identity, merged=merged)
        with recorder.phase("effects"):
            engine.edit(methods, kept)
            effects = methods.run()
        store.nodes.update(kept.nodes)
        steered = [row for one in methods.steered for row in one.rows]
        doses = [sums for one in methods.steered for sums in one.doses]
        evaluation = evaluation.with_effects(effects, methods.caveats, steered, doses)
        tasks = tasks_of_maps(effects, corpus, units, tasks, probing, config.min_count)
    record = recorder.record(
        corpus,
        handle,
        *activations.described(),
        tasks,
        evaluation,
        fits.summary,
        run_dir,
        work.metrics,
    )
    record.environment.update(store.machines())
    record.steering.extend(one.record for one in methods.steered)
    keeps = config.keep_parts and merged is None and probing
    if keeps:
        layers = [layer for _, layer in plan.heads]
        files = [part_file(part) for part in fits.parts]
        write_kept(store.directory, identity, layers, prepared.features, sources, files)
    table, record = publish(
        run_dir,
        evaluation,
        plan.in_order(fits.banks),
        record,
        recorder,
        level=config.significance.level,
    )
    if not keeps:
        store.remove()
    remove_effects(run_dir)
    logger.log_run(table, record, evaluation.maps)
