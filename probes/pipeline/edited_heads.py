"""The exact effects of one feature of a run: which heads are edited, and what that changes.

This is what takes the time of a run with such methods, so processes share it: ``edit_heads`` does
no more than one process's part, and judges nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from probes.config import GeneratedConfig, RunConfig
from probes.config.group_checks import top_of
from probes.core.errors import UserError
from probes.corpora import load_corpus
from probes.interventions.ablation import References, RowEffects, ablate
from probes.interventions.answer_tokens import score_answers
from probes.interventions.exact import Head
from probes.interventions.patching import patch
from probes.interventions.sampled_heads import SampledHeads, sample_heads
from probes.pipeline.feature_effects import FeatureEffects
from probes.results.vocabulary.methods import PROBE
from probes.results.vocabulary.sites import HEADS
from probes.statistics.groups import Array

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AblatedHeads:
    """The effects of ablation, and what was ablated."""

    units: Mapping[str, list[Head]]
    """By kind of site, in the order of the effects."""
    weights: Mapping[str, Array]
    """How many heads each that was drawn stands for, where not all are ablated."""
    effects: RowEffects

    def rows_of(self, site: str) -> npt.NDArray[np.int64]:
        """Of the effects of a kind of site."""
        kinds = [kind for kind, heads in self.units.items() for _ in heads]
        return np.flatnonzero(np.array(kinds) == site)


def ablate_heads(one: FeatureEffects) -> AblatedHeads:
    """Ablate all units, or with ``ablation.heads=top:N`` some of the heads.

    Raises:
        UserError: heads are to be chosen and there is no validation text, or whatever ``ablate``
            refuses.
    """
    config = one.config.ablation
    weights: dict[str, Array] = {}
    units = one.editor.units
    if (top := top_of(config)) is not None:
        sample = _sample(one, top)
        units = units | {HEADS: [one.editor.heads[number] for number in sample.chosen]}
        weights[HEADS] = sample.weights
    effects = ablate(
        one.editor,
        one.behaviour,
        [head for heads in units.values() for head in heads],
        config,
        probe=one.probe,
        references=_references(one),
        seed=one.config.seed,
    )
    return AblatedHeads(units, weights, effects)


def edit_heads(one: FeatureEffects, method: str) -> None:
    """Edit the heads for the parts of a method that this process measures and that are not stored.

    Raises:
        UserError: whatever the method refuses.
    """
    if method == "ablation":
        ablate_heads(one)
    elif one.pairs is not None:
        patch(one.editor, one.behaviour, one.pairs, one.editor.heads, one.config.patching)


def chooses_by_probes(config: RunConfig) -> bool:
    """Whether the heads that are ablated follow from all of the run's probes."""
    return top_of(config.ablation) is not None and PROBE in config.methods


def _sample(one: FeatureEffects, top: int) -> SampledHeads:
    """The best heads by attribution and by probe on validation, and a sample of the others.

    Raises:
        UserError: there are no validation rows, as with folds.
    """
    rows, feature = one.behaviour.validation, one.behaviour.feature
    if not rows.any():
        raise UserError(
            f"ablation.heads=top:{top}: heads are chosen on validation, and '{feature}' has no "
            "validation text",
            fix="ablation.heads=all, or split.folds=0",
        )
    scores = [one.estimates.total[:, rows].mean(axis=1)]
    number = {(s.stream, s.layer, head): n for n, (s, head) in enumerate(one.editor.heads)}
    for evidence in one.probed:
        own = evidence.site == HEADS and evidence.probe == one.config.probe.name
        if own and evidence.feature == feature and evidence.method == PROBE:
            by_probe = np.full(len(number), np.nan)
            for unit, value in zip(evidence.keys, evidence.validation, strict=True):
                by_probe[number[unit]] = value
            scores.append(by_probe)
    sample = sample_heads(scores, top, seed=one.config.seed)
    log.info(
        "%s: %d of %d heads are ablated, %d of them drawn",
        feature, len(sample.chosen), len(number), int((sample.weights > 1).sum()),
    )  # fmt: skip
    return sample


def _references(one: FeatureEffects) -> References | None:
    """Other texts of a generated corpus; None: not asked for, or it is not generated."""
    config = one.config.corpus
    if one.config.ablation.kind != "mean_position" or not isinstance(config, GeneratedConfig):
        return None
    other = load_corpus(replace(config, seed=config.seed + 1))
    own = set(one.corpus.texts)
    new = [number for number, text in enumerate(other.texts) if text not in own]
    texts = score_answers(other, one.editor.handle, one.behaviour.measure, examples=new)
    return References(one.corpus, other, texts)
