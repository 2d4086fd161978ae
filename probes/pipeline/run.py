"""What a run does, from top to bottom: each line makes one thing out of those before it."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from probes.config import RunConfig
from probes.config.checks import check
from probes.core.memory import parse_size
from probes.core.process import heavy_imports
from probes.corpora import load_corpus
from probes.corpora.corpus import TEXT_LEVELS, Corpus
from probes.corpora.splits import assign_splits
from probes.corpora.tasks import make_task
from probes.models.checkpoints import local_directory

if TYPE_CHECKING:
    from probes.training.bank import ProbeBank
    from probes.training.chunk_fit import ChunkFit

log = logging.getLogger(__name__)


def run(config: RunConfig, run_dir: Path) -> None:
    """Train the probes that ``config`` asks for and leave everything in ``run_dir``.

    What a user can get wrong is found as early as possible: settings, texts, features and the
    model's directory before the heavy libraries are imported, labels and groups before anything is
    fitted.

    Raises:
        UserError: what is wrong, what is allowed and which override fixes it.
    """
    check(config)
    config.cache_dir = os.path.expanduser(config.cache_dir)
    memory_budget = parse_size(config.memory_budget, key="memory_budget")
    corpus = assign_splits(load_corpus(config.corpus), config.split)
    features = chosen_features(config, corpus)
    if config.model.simplified is None:
        local_directory(config.model)
    for note in corpus.notes:
        log.info("%s: %s", corpus.name, note)

    # Torch, transformers and lightning take seconds to import: only now are they needed.
    with heavy_imports():
        from probes.activations.extraction import extract
        from probes.evaluation.evaluate import Evaluator
        from probes.evaluation.own_metrics import load_metrics
        from probes.models.loading import open_model
        from probes.pipeline.fit_plan import TRAINED, make_sources, wanted_sites
        from probes.pipeline.publish import publish
        from probes.pipeline.recorder import Ledger
        from probes.reporting.loggers import make_logger
        from probes.simplified.store import resolve, training_curve
        from probes.training.fit import fit_banks

    metrics = load_metrics(config.evaluation.metrics)
    ledger = Ledger(config)
    config.model = resolve(config.model, config.cache_dir, config.trainer)
    handle = open_model(config.model)
    log.info("model %s: %s, %s on %s", handle.name, handle.kind, handle.dtype, handle.device)
    with ledger.stage("extract"):
        caches = {
            name: extract(
                model,
                corpus,
                sites=sites,
                layers=config.layers,
                position=config.position,
                extraction=config.extraction,
                cache_dir=config.cache_dir,
                truncate=config.truncate,
                whole_texts=any(corpus.feature(f).level in TEXT_LEVELS for f in features),
                memory_budget=memory_budget,
                progress=config.trainer.progress,
            )
            for name, model, sites in wanted_sites(config, handle)
        }

    units = caches[TRAINED][config.site].rows["unit"]
    tasks = [make_task(corpus, name, units, min_count=config.min_count) for name in features]
    for task in tasks:
        log.info("%s", task.summary())
    erase = config.evaluation.erase
    erased = make_task(corpus, erase, units, min_count=config.min_count) if erase else None
    sources = make_sources(config, caches, tasks, erased)
    evaluator = Evaluator(
        config.evaluation,
        config.significance,
        seed=config.seed,
        group_name=corpus.group_name,
        texts=lambda task: [corpus.texts[example] for example in task.examples],
        lexical=config.baseline.lexical,
        metrics=metrics,
    )
    banks: list[ProbeBank] = []

    def on_fit(fit: ChunkFit) -> None:
        banks.append(fit.bank())
        evaluator.add(fit)

    with make_logger(config.logger, run_dir, ledger.plain_config()) as logger:
        logger.log_curve(training_curve(config.model, config.cache_dir))
        with ledger.stage("fit"):
            summary = fit_banks(
                sources,
                config.probe,
                config.trainer,
                memory_budget=memory_budget,
                on_fit=on_fit,
                loggers=logger.lightning,
            )
            evaluation = evaluator.finish()
        record = ledger.record(corpus, handle, caches[TRAINED], tasks, evaluation, summary, run_dir)
        table, record = publish(
            run_dir, evaluation, banks, record, ledger, level=config.significance.level
        )
        logger.log_run(table, record)


def chosen_features(config: RunConfig, corpus: Corpus) -> list[str]:
    """The features asked for, or the corpus' own choice; each checked to exist."""
    names = list(dict.fromkeys(config.features or corpus.default_features or corpus.features))
    for name in [*names, config.evaluation.erase]:
        if name is not None:
            corpus.feature(name)
    return names
