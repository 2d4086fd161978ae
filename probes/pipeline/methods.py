"""The methods beside probes, as part of a run: what each head changes when it is edited."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from probes.config import (
    GeneratedConfig,
    RunConfig,
)
from probes.config.checks import top_of
from probes.core.errors import UserError
from probes.corpora import load_corpus
from probes.corpora.corpus import Corpus
from probes.corpora.tasks import Task, make_task
from probes.evaluation.effect_map import EffectMap, judge_effects
from probes.interventions.ablation import References, ablate
from probes.interventions.answer_tokens import answer_features, require_answers, score_answers
from probes.interventions.behaviour import (
    Behaviour,
    answering,
    counts_line,
    settled_measure,
)
from probes.interventions.editor import MLP, DownstreamProbe, Editor
from probes.interventions.effects import Named, effect_evidence
from probes.interventions.estimates import (
    Estimates,
    estimate_ablation,
    estimate_patching,
    require_differentiable,
)
from probes.interventions.logit_parts import logit_parts, require_logit_difference
from probes.interventions.measures import Measure
from probes.interventions.patching import chosen_contrast, make_pairs, patch
from probes.interventions.replacements import Places
from probes.interventions.sampled_heads import SampledHeads, sample_heads
from probes.models.handle import Handle
from probes.pipeline.downstream import downstream_behaviour
from probes.pipeline.steering import Steered, SteeringOfRun, no_map, wanted_class
from probes.results.vocabulary.comparators import MATCHED
from probes.results.vocabulary.methods import DIRECT, PROBE, TOTAL
from probes.results.vocabulary.quantities import NORMALISED
from probes.results.vocabulary.sites import HEADS
from probes.statistics.bootstrap import Draws, draw_groups
from probes.statistics.maps import MapEvidence

log = logging.getLogger(__name__)

STEERING = "steering"


@dataclass
class MethodsOfRun:
    """All that the methods of a run are applied to."""

    config: RunConfig
    corpus: Corpus
    features: Sequence[str]
    handle: Handle
    cache_dir: Path
    memory_budget: int
    probed: Sequence[MapEvidence] = ()
    """The maps of the run's probes, by which heads may be chosen."""
    caveats: list[str] = field(default_factory=list)
    steered: list[Steered] = field(default_factory=list)
    """What steering gave, feature after feature."""
    _made: dict[str, Estimates] = field(default_factory=dict)

    @property
    def methods(self) -> list[str]:
        """Those that edit, in the order asked for; steering, which chooses by the others, last."""
        names = [name for name in dict.fromkeys(self.config.methods) if name != PROBE]
        return sorted(names, key=lambda name: name == STEERING)

    @cached_property
    def measure(self) -> Measure:
        """What effects are measured on."""
        kind = self.handle.kind
        return settled_measure(
            self.config.measure,
            self.corpus,
            encoder=kind == "encoder",
            reads_itself=kind == "encoder-decoder",
        )

    def named(self) -> dict[str, str | None]:
        """Feature of each map -> the feature whose answers it is about (None: all answers)."""
        if self.measure.score is None:
            return {feature: feature for feature in self.features}
        of_answers = list(dict.fromkeys(a.feature for a in self.corpus.answers if a.feature))
        wanted = answer_features(self.corpus, self.features)
        if wanted != [None]:
            return {str(feature): feature for feature in wanted}
        known = [feature for feature in of_answers if feature in self.corpus.features]
        if known and not self.measure.texts:
            return {feature: feature for feature in known}
        return {self.features[0]: None}

    def run(self) -> list[EffectMap]:
        """The maps of all methods, features after features.

        Raises:
            UserError: corpus, model and measure do not go together; found before anything is
                edited.
        """
        self.check()
        config = self.config
        measure = self.measure
        editor = Editor.open(
            self.handle,
            head=measure.score is not None or self._speaks,
            layers=config.layers,
            whole_layers=config.baseline.all_heads != "none",
            tokens_per_batch=config.extraction.tokens_per_batch,
            memory_budget=self.memory_budget,
            progress=config.trainer.progress,
        )
        self.caveats += editor.notes
        maps: list[EffectMap] = []
        for name, of in self.named().items():
            probe = None
            if measure.score is None:
                behaviour, probe = self._downstream(name, editor)
            else:
                behaviour = answering(
                    self.corpus, self.handle, measure, of, config.split, name=name
                )
            log.info("%s", counts_line(behaviour))
            draws = self._draws(behaviour)
            for method in self.methods:
                if method == STEERING:
                    self._steer(name, of, editor, behaviour, probe, maps)
                else:
                    maps += getattr(self, f"_{method}")(editor, behaviour, probe, draws)
        return maps

    def check(self) -> None:
        """Refuse corpus, model and measure that do not go together, before the model is loaded.

        Raises:
            UserError: the first reason.
        """
        if not self.methods:
            return
        require_answers(self.corpus, self.measure)
        if "patching" in self.methods:
            chosen_contrast(self.corpus, self.config.patching.contrast, self.measure)
        if "attribution" in self.methods:
            require_differentiable(self.measure)
        if "direct_logit" in self.methods:
            require_logit_difference(self.measure)
        if STEERING in self.methods:
            self._check_steering()

    def _check_steering(self) -> None:
        """Refuse a class that a feature has not, and features by which no heads are chosen."""
        probed = self.features if PROBE in self.config.methods else ()
        for feature in self.named():
            wanted_class(self.corpus, feature, self.config.steering.towards)
            if feature not in probed and self.methods == [STEERING]:
                raise no_map(feature, probed)

    @property
    def _speaks(self) -> bool:
        """Whether steering wants the model's next tokens, for the perplexity of neutral texts."""
        return STEERING in self.methods and self.handle.kind == "decoder"

    def _downstream(self, feature: str, editor: Editor) -> tuple[Behaviour, DownstreamProbe]:
        return downstream_behaviour(
            self.config, self.corpus, editor, feature, self.cache_dir, self.memory_budget
        )

    def _steer(
        self,
        name: str,
        answers_of: str | None,
        editor: Editor,
        behaviour: Behaviour,
        probe: DownstreamProbe | None,
        maps: Sequence[EffectMap],
    ) -> None:
        steering = SteeringOfRun(
            self.config,
            self.corpus,
            self.handle,
            self.cache_dir,
            self.memory_budget,
            editor,
            [*self.probed, *(evidence for one in maps for evidence in one.maps)],
        )
        if probe is not None:
            known = (behaviour, probe)
            done = steering.steer(name, None, None, lambda: known)
        else:
            done = steering.steer(
                name, behaviour, answers_of, lambda: self._downstream(name, editor)
            )
        self.steered.append(done)
        self.caveats += [f"'{name}', steering: {note}" for note in done.record.notes]

    def _ablation(
        self,
        editor: Editor,
        behaviour: Behaviour,
        probe: DownstreamProbe | None,
        draws: Draws | None,
    ) -> list[EffectMap]:
        config = self.config.ablation
        maps: list[EffectMap] = []
        weights: dict[str, np.ndarray | None] = {}
        units = editor.units
        if (top := top_of(config)) is not None:
            sample = self._sample(top, editor, behaviour, probe)
            units = units | {HEADS: [editor.heads[number] for number in sample.chosen]}
            weights[HEADS] = sample.weights
            if "attribution" not in self.methods:  # how well it chose is to be seen
                maps.append(self._estimated_ablation(editor, behaviour, probe, draws))
        of_unit = [(site, head) for site, heads in units.items() for head in heads]
        effects = ablate(
            editor,
            behaviour,
            [head for _, head in of_unit],
            config,
            probe=probe,
            references=self._references(behaviour),
            seed=self.config.seed,
        )
        if effects.kept is not None and not effects.kept.all():
            draws = self._draws(behaviour, effects.kept & behaviour.reported)
            self.caveats.append(
                f"'{behaviour.feature}': {int((~effects.kept).sum())} texts are left out of "
                "ablation: their template has too few others to take a mean by position over"
            )
        for site, heads in units.items():
            rows = np.array([number for number, (of, _) in enumerate(of_unit) if of == site])
            for effect, of, matched in (
                (TOTAL, effects.total, effects.matched),
                (DIRECT, effects.direct, effects.matched_direct),
            ):
                if of is None or np.isnan(of[rows]).all():
                    continue
                named = Named("ablation", config.kind, effect, config.positions)
                shared: dict[str, Any] = {
                    "site": site,
                    "kept": effects.kept,
                    "weights": weights.get(site),
                }
                evidence = effect_evidence(behaviour, heads, of[rows], named, **shared)
                control = None
                if matched is not None and site == HEADS:
                    values = effect_evidence(behaviour, heads, matched[rows], named, **shared)
                    control = replace(values, probe=MATCHED)
                maps.append(self._judge(behaviour, evidence, control, draws))
        return maps

    def _sample(
        self, top: int, editor: Editor, behaviour: Behaviour, probe: DownstreamProbe | None
    ) -> SampledHeads:
        """The best heads by attribution and by probe on validation, and a sample of the others.

        Raises:
            UserError: there are no validation rows, as with folds.
        """
        rows = behaviour.validation
        if not rows.any():
            raise UserError(
                f"ablation.heads=top:{top}: heads are chosen on validation, and "
                f"'{behaviour.feature}' has no validation text",
                fix="ablation.heads=all, or split.folds=0",
            )
        scores = [self._estimates(editor, behaviour, probe).total[:, rows].mean(axis=1)]
        number = {(s.stream, s.layer, head): n for n, (s, head) in enumerate(editor.heads)}
        for evidence in self.probed:
            own = evidence.site == HEADS and evidence.probe == self.config.probe.name
            if own and evidence.feature == behaviour.feature and evidence.method == PROBE:
                by_probe = np.full(len(number), np.nan)
                for unit, value in zip(evidence.keys, evidence.validation, strict=True):
                    by_probe[number[unit]] = value
                scores.append(by_probe)
        sample = sample_heads(scores, top, seed=self.config.seed)
        log.info(
            "%s: %d of %d heads are ablated, %d of them drawn",
            behaviour.feature, len(sample.chosen), len(number), int((sample.weights > 1).sum()),
        )  # fmt: skip
        return sample

    def _estimates(
        self, editor: Editor, behaviour: Behaviour, probe: DownstreamProbe | None
    ) -> Estimates:
        """Of mean ablation, made once for a feature."""
        if behaviour.feature not in self._made:
            config = self.config.ablation
            places = Places(config.positions, config.first_token)  # type: ignore[arg-type]
            self._made[behaviour.feature] = estimate_ablation(editor, behaviour, places, probe)
        return self._made[behaviour.feature]

    def _estimated_ablation(
        self,
        editor: Editor,
        behaviour: Behaviour,
        probe: DownstreamProbe | None,
        draws: Draws | None,
    ) -> EffectMap:
        estimates = self._estimates(editor, behaviour, probe)
        named = Named("attribution", "mean", TOTAL, self.config.ablation.positions)
        evidence = effect_evidence(behaviour, estimates.heads, estimates.total, named)
        return self._judge(behaviour, evidence, None, draws)

    def _references(self, behaviour: Behaviour) -> References | None:
        """Other texts of a generated corpus; None: not asked for, or it is not generated."""
        wanted = self.config.ablation.kind == "mean_position"
        if not wanted or not isinstance(self.config.corpus, GeneratedConfig):
            return None
        other = load_corpus(replace(self.config.corpus, seed=self.config.corpus.seed + 1))
        new = [n for n, text in enumerate(other.texts) if text not in set(self.corpus.texts)]
        texts = score_answers(other, self.handle, behaviour.measure, examples=new)
        return References(self.corpus, other, texts)

    def _patching(
        self,
        editor: Editor,
        behaviour: Behaviour,
        probe: DownstreamProbe | None,
        draws: Draws | None,
    ) -> list[EffectMap]:
        config = self.config.patching
        pairs = make_pairs(editor, behaviour, self.corpus, config.contrast)
        for note in pairs.notes:
            log.info("%s, %s: %s", behaviour.feature, pairs.kind, note)
        effects = patch(editor, behaviour, pairs, editor.heads, config)
        draws = self._draws(behaviour, pairs.kept & behaviour.reported)
        maps = []
        for effect, of in ((TOTAL, effects.total), (DIRECT, effects.direct)):
            if of is not None:
                named = Named("patching", config.direction, effect, config.positions)
                evidence = effect_evidence(behaviour, editor.heads, of, named, kept=pairs.kept)
                maps.append(self._judge(behaviour, evidence, None, draws))
        named = Named("patching", config.direction, TOTAL, config.positions)
        whole = effect_evidence(
            behaviour, editor.heads[:1], effects.contrast[None], named, kept=pairs.kept
        )
        low = high = float(whole.sums().value()[0])
        if draws is not None:
            interval = draws.interval(whole.sums())
            low, high = float(interval.low[0]), float(interval.high[0])
        if low > 0 or high < 0:
            share = effect_evidence(
                behaviour,
                editor.heads,
                effects.total,
                named,
                metric=NORMALISED + behaviour.measure.name,
                kept=pairs.kept,
                reference=effects.contrast,
            )
            maps.append(self._judge(behaviour, share, None, draws))
        else:
            self.caveats.append(
                f"'{behaviour.feature}': the corrupted texts ({pairs.kind}) do not change the "
                f"{behaviour.measure.name} (interval {low:.3g} to {high:.3g}), so that effects of "
                "patching are not shown as shares of that change"
            )
        return maps

    def _direct_logit(
        self,
        editor: Editor,
        behaviour: Behaviour,
        probe: DownstreamProbe | None,
        draws: Draws | None,
    ) -> list[EffectMap]:
        parts = logit_parts(editor, behaviour)
        named = Named("direct_logit", "parts", DIRECT, "read")
        maps = [effect_evidence(behaviour, parts.heads, parts.of_heads, named)]
        if parts.mlps:
            of_mlps = effect_evidence(behaviour, parts.mlps, parts.of_mlps, named, site=MLP)
            maps.append(of_mlps)
        return [self._judge(behaviour, evidence, None, draws) for evidence in maps]

    def _attribution(
        self,
        editor: Editor,
        behaviour: Behaviour,
        probe: DownstreamProbe | None,
        draws: Draws | None,
    ) -> list[EffectMap]:
        """The estimate of mean ablation, and where there are twins that of patching."""
        config, steps = self.config, self.config.attribution.steps
        maps = [self._estimated_ablation(editor, behaviour, probe, draws)]
        paired = self.corpus.contrasts and behaviour.measure.score is not None
        if not paired or behaviour.measure.sentences:
            return maps
        pairs = make_pairs(editor, behaviour, self.corpus, config.patching.contrast)
        direction = config.patching.direction
        places = Places(config.patching.positions)  # type: ignore[arg-type]
        of_pairs = estimate_patching(editor, behaviour, pairs, direction, places, steps)
        variant = "integrated" if steps > 1 else direction
        named = Named("attribution", variant, TOTAL, config.patching.positions)
        evidence = effect_evidence(
            behaviour, of_pairs.heads, of_pairs.total, named, kept=pairs.kept
        )
        kept = self._draws(behaviour, pairs.kept & behaviour.reported)
        return [*maps, self._judge(behaviour, evidence, None, kept)]

    def _judge(
        self,
        behaviour: Behaviour,
        evidence: MapEvidence,
        control: MapEvidence | None,
        draws: Draws | None,
    ) -> EffectMap:
        return judge_effects(
            evidence,
            control=control,
            draws=draws,
            choose_on_validation=not behaviour.folds,
            level=self.config.significance.level,
            seed=self.config.seed,
        )

    def _draws(self, behaviour: Behaviour, kept: np.ndarray | None = None) -> Draws | None:
        rows = behaviour.reported if kept is None else kept
        groups = len(np.unique(behaviour.groups[rows]))
        if not self.config.evaluation.bootstrap:
            return None
        return draw_groups(
            groups,
            self.config.evaluation.bootstrap,
            seed=self.config.seed,
            confidence=self.config.evaluation.confidence,
        )


def tasks_of_maps(
    maps: Sequence[EffectMap], corpus: Corpus, units: np.ndarray, known: Sequence[Task], least: int
) -> list[Task]:
    """Tasks of features that have a map of effects, and were not probed."""
    names = dict.fromkeys(evidence.feature for one in maps for evidence in one.maps)
    missing = [name for name in names if name not in {task.feature for task in known}]
    return [make_task(corpus, name, units, min_count=least) for name in missing]
