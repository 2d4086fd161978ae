"""One feature of a run, whose effects are measured: what all methods that edit share."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from probes.config import RunConfig
from probes.corpora.corpus import Corpus
from probes.evaluation.effect_map import EffectMap, judge_effects
from probes.interventions.behaviour import Behaviour
from probes.interventions.editor import DownstreamProbe, Editor
from probes.interventions.effects import Named, effect_evidence
from probes.interventions.estimates import Estimates, estimate_ablation
from probes.interventions.patching import NoPairs, Pairs, make_pairs
from probes.interventions.replacements import Places
from probes.results.vocabulary.methods import TOTAL
from probes.statistics.bootstrap import Draws, draw_groups
from probes.statistics.maps import MapEvidence

log = logging.getLogger(__name__)

BoolArray = npt.NDArray[np.bool_]


@dataclass
class FeatureEffects:
    """The scored rows of a feature, the model that is edited, and how effects are judged."""

    config: RunConfig
    corpus: Corpus
    editor: Editor
    behaviour: Behaviour
    probe: DownstreamProbe | None
    """That scores rows, for the measure ``downstream``."""
    probed: Sequence[MapEvidence]
    """The maps of the run's probes, by which heads may be chosen."""
    caveats: list[str]
    """What a reader of the maps has to know; methods add to it."""

    def caveat(self, sentence: str) -> None:
        """Say something of this feature's maps."""
        self.caveats.append(f"'{self.behaviour.feature}': {sentence}")

    def judge(
        self,
        evidence: MapEvidence,
        *,
        control: MapEvidence | None = None,
        kept: BoolArray | None = None,
    ) -> EffectMap:
        """Rows, tests and best head of a map.

        control: effects of the matched edit. kept: (N,) rows that were measured; None: all.
        """
        return judge_effects(
            evidence,
            control=control,
            draws=self.draws(kept),
            choose_on_validation=not self.behaviour.folds,
            level=self.config.significance.level,
            seed=self.config.seed,
        )

    def draws(self, kept: BoolArray | None = None) -> Draws | None:
        """Of the bootstrap over the groups of the reported rows that were measured."""
        evaluation, rows = self.config.evaluation, self.behaviour.reported
        if not evaluation.bootstrap:
            return None
        groups = np.unique(self.behaviour.groups[rows if kept is None else rows & kept])
        return draw_groups(
            len(groups), evaluation.bootstrap, seed=self.config.seed,
            confidence=evaluation.confidence,
        )  # fmt: skip

    @cached_property
    def pairs(self) -> Pairs | None:
        """The texts with their corrupted twins, which patching and its estimate share; None, with a
        caveat, where this feature has none and other methods are asked for as well.

        Raises:
            UserError: patching is all that is asked for.
        """
        try:
            pairs = make_pairs(
                self.editor, self.behaviour, self.corpus, self.config.patching.contrast
            )
        except NoPairs as error:
            if set(self.config.methods) == {"patching"}:
                raise
            self.caveat(f"not patched: {error.wrong}")
            return None
        for note in pairs.notes:
            log.info("%s, %s: %s", self.behaviour.feature, pairs.kind, note)
        return pairs

    @cached_property
    def estimates(self) -> Estimates:
        """Of mean ablation: a method of its own, and what ``ablation.heads=top:N`` goes by."""
        config = self.config.ablation
        places = Places(config.positions, config.first_token)  # type: ignore[arg-type]
        return estimate_ablation(self.editor, self.behaviour, places, self.probe)

    def estimated_ablation(self) -> EffectMap:
        """The map of these estimates."""
        named = Named("attribution", "mean", TOTAL, self.config.ablation.positions)
        estimates = self.estimates
        return self.judge(effect_evidence(self.behaviour, estimates.heads, estimates.total, named))
