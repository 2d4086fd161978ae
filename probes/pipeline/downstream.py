"""What is decodable at the end: the probe of the last layer that scores ``downstream``."""

from __future__ import annotations

import logging
from pathlib import Path

from probes.activations.extraction import extract
from probes.config import EvaluationConfig, LinearConfig, RunConfig, SignificanceConfig
from probes.core.errors import UserError
from probes.corpora.corpus import TEXT_LEVELS, Corpus
from probes.corpora.tasks import make_task
from probes.evaluation.evidence_problems import evidence_problems
from probes.interventions.behaviour import Behaviour, decoding
from probes.interventions.editor import DownstreamProbe, Editor
from probes.models.sites import find_sites
from probes.passes.alignment import align
from probes.results.vocabulary.sites import RESIDUAL
from probes.training.bank import ProbeBank
from probes.training.chunk_fit import ChunkFit
from probes.training.fit import fit_banks
from probes.training.problems import ActivationSource, ProblemSet

log = logging.getLogger(__name__)

ABOVE_MAJORITY = 0.01
"""By how much the probe of the last layer must be more accurate than the majority class for
``downstream`` to mean anything."""


def downstream_behaviour(
    config: RunConfig,
    corpus: Corpus,
    editor: Editor,
    feature: str,
    cache_dir: Path,
    memory_budget: int,
) -> tuple[Behaviour, DownstreamProbe]:
    """The rows of a feature, and the frozen probe of the last layer that scores them.

    Raises:
        UserError: the probe does no better than the majority class.
    """
    whole = corpus.feature(feature).level in TEXT_LEVELS
    streams = ("decoder", "encoder")
    residual = find_sites(
        editor.body, RESIDUAL, head_projection=editor.handle.settings.head_projection
    )
    stream = next(s for s in streams if any(site.stream == s for site in residual))
    last = [site for site in residual if site.stream == stream][-1]
    cache = extract(
        editor.handle,
        corpus,
        sites=[RESIDUAL],
        layers=[last.layer],
        position=config.position,
        extraction=config.extraction,
        cache_dir=cache_dir,
        truncate=config.truncate,
        whole_texts=whole,
        memory_budget=memory_budget,
    )[RESIDUAL]
    task = make_task(corpus, feature, cache.rows["unit"], min_count=config.min_count)
    without = EvaluationConfig(bootstrap=config.evaluation.bootstrap, control=False)
    problems = evidence_problems(
        task, without, SignificanceConfig(), config.split, seed=config.seed
    )
    source = ActivationSource(RESIDUAL, cache, (ProblemSet(task, problems),))
    banks: list[ProbeBank] = []
    right = scored = 0

    def on_fit(fit: ChunkFit) -> None:
        nonlocal right, scored
        if fit.stream != last.stream:
            return
        for number, fitted in enumerate(fit.fits):
            banks.append(fit.bank(number))
            said = banks[-1].logits(fit.z[:, :])[0].argmax(-1).numpy()
            rows = fitted.problem.score
            right += int((said == task.labels)[rows].sum())
            scored += int(rows.sum())

    fit_banks(
        [source],
        LinearConfig(),
        config.trainer,
        memory_budget=memory_budget,
        on_fit=on_fit,
    )
    accuracy, majority = right / max(scored, 1), task.majority[1]
    log.info(
        "%s: downstream probe (residual stream, layer %d): accuracy %.3f on test, majority "
        "%.3f", feature, last.layer, accuracy, majority,
    )  # fmt: skip
    if accuracy < majority + ABOVE_MAJORITY:
        raise UserError(
            f"measure=downstream: the probe of the last layer decodes '{feature}' with "
            f"{accuracy:.3f}, the majority class {majority:.3f}: there is nothing that a head "
            "could feed",
            fix="features=[ANOTHER], or another corpus",
        )
    alignment = align(
        corpus, editor.handle, config.position, truncate=config.truncate, whole_texts=whole
    )
    behaviour = decoding(task, alignment, corpus, config.split)
    return behaviour, DownstreamProbe(last, tuple(banks))
