"""The methods beside probes, as part of a run: what each head changes when it is edited."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from probes.config import RunConfig
from probes.config.methods import EXACT
from probes.corpora.corpus import Corpus
from probes.corpora.tasks import Task, make_task
from probes.evaluation.effect_map import EffectMap
from probes.interventions.answer_tokens import answer_features, require_answers
from probes.interventions.behaviour import Behaviour, answering, counts_line, settled_measure
from probes.interventions.editor import DownstreamProbe, Editor
from probes.interventions.effect_parts import EffectParts, NotKept
from probes.interventions.estimates import require_differentiable
from probes.interventions.logit_parts import require_logit_difference
from probes.interventions.measures import Measure
from probes.interventions.patching import chosen_contrast
from probes.models.handle import Handle
from probes.pipeline.downstream import downstream_behaviour
from probes.pipeline.edited_heads import chooses_by_probes, edit_heads
from probes.pipeline.feature_effects import FeatureEffects
from probes.pipeline.method_maps import MAPS
from probes.pipeline.steered_heads import no_map, wanted_class
from probes.pipeline.steering import Steered, steer
from probes.pipeline.steering_of_run import SteeringOfRun
from probes.results.vocabulary.methods import PROBE
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
    parts: EffectParts = field(default_factory=NotKept)
    """Keeps effects as they come."""
    caveats: list[str] = field(default_factory=list)
    steered: list[Steered] = field(default_factory=list)
    """What steering gave, feature after feature."""

    @property
    def methods(self) -> list[str]:
        """Those that edit, in the order asked for; steering, which chooses by the others, last."""
        names = [name for name in dict.fromkeys(self.config.methods) if name != PROBE]
        return sorted(names, key=lambda name: name == STEERING)

    @property
    def exact(self) -> list[str]:
        """Those that edit every head alone."""
        return [method for method in self.methods if method in EXACT]

    @property
    def shared(self) -> list[str]:
        """Those of them whose heads this process knows before all fits are done."""
        waits = chooses_by_probes(self.config) and not self.probed
        return [method for method in self.exact if not (waits and method == "ablation")]

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
        """Feature of each map -> the feature whose answers it is about (None: all answers).

        Features without answers of their own share one map: of the feature that all answers of the
        corpus stand for, else, named after the first of them, of all answers of their texts.
        """
        if self.measure.score is None:
            return {feature: feature for feature in self.features}
        wanted = answer_features(self.corpus, self.features)
        if wanted != [None]:
            return {str(feature): feature for feature in wanted}
        of_answers = {answer.feature for answer in self.corpus.answers}
        if len(of_answers) == 1 and not self.measure.texts:
            (only,) = of_answers
            if only in self.corpus.features:
                return {only: only}
        return {self.features[0]: None}

    def _answering(self, name: str, of: str | None) -> Behaviour:
        """The scored answers of a map. Of features without their own those of all their texts."""
        of_answers = {answer.feature for answer in self.corpus.answers}
        known = sorted(of_answers & set(self.corpus.features))
        pooled = of is None and bool(known) and not self.measure.texts
        behaviour = answering(
            self.corpus, self.handle, self.measure, of, self.config.split,
            name=name, labelled=self.features if pooled else (),
        )  # fmt: skip
        if pooled:
            self.caveats.append(
                f"'{name}' has no answers of its own: its effects are on all answers of the "
                f"{len(behaviour.texts):,} texts that have it, among them those of "
                f"{', '.join(known)}; features=[{known[0]}] measures these alone"
            )
        return behaviour

    def run(self) -> list[EffectMap]:
        """The maps of all methods, features after features.

        Raises:
            UserError: corpus, model and measure do not go together; found before anything is
                edited.
        """
        self.check()
        self._say_what_has_no_map()
        maps: list[EffectMap] = []
        for name, of, one in self._effects():
            for method in self.methods:
                if method == STEERING:  # of sets of heads: no map
                    self._steer(name, of, one.editor, one.behaviour, one.probe, maps)
                else:
                    maps += MAPS[method](one)
        return maps

    def _say_what_has_no_map(self) -> None:
        """Name the features without answers of their own beside others that have some."""
        named, of_answers = self.named(), {answer.feature for answer in self.corpus.answers}
        if not (without := [feature for feature in self.features if feature not in named]):
            return
        words = (
            f"{', '.join(without)}: no map of effects, because no answer stands for "
            f"{'it' if len(without) == 1 else 'them'}; effects are measured on {', '.join(named)}"
        )
        if len(of_answers) > 1 and not self.measure.texts:
            words += f" (features=[{without[0]}] alone: on all answers of its texts together)"
        log.info("%s", words)
        self.caveats.append(f"{words}.")

    def edit(self) -> None:
        """Measure the parts of exact effects that are this process's, and leave them in ``parts``.

        What follows from the effects or probes of all processes is left to the one that joins
        them: heads that are chosen by probes, estimates, steering and the maps.

        Raises:
            UserError: see ``run``.
        """
        if self.shared != self.exact:
            log.info(
                "ablation.heads=%s: chosen by the probes of all shards, so that merge ablates",
                self.config.ablation.heads,
            )
        if not self.shared:
            return
        self.check()
        for _, _, one in self._effects():
            for method in self.shared:
                edit_heads(one, method)

    def _effects(self) -> Iterator[tuple[str, str | None, FeatureEffects]]:
        """What is edited and measured, map after map; see ``named``."""
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
            parts=self.parts,
        )
        self.caveats += editor.notes
        for name, of in self.named().items():
            probe = None
            if measure.score is None:
                behaviour, probe = self._downstream(name, editor)
            else:
                behaviour = self._answering(name, of)
            log.info("%s", counts_line(behaviour))
            one = FeatureEffects(
                config, self.corpus, editor, behaviour, probe, self.probed, self.caveats
            )
            yield name, of, one

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
            done = steer(steering, name, None, None, lambda: known)
        else:
            done = steer(
                steering, name, behaviour, answers_of, lambda: self._downstream(name, editor)
            )
        self.steered.append(done)
        self.caveats += [f"'{name}', steering: {note}" for note in done.record.notes]


def tasks_of_maps(
    maps: Sequence[EffectMap],
    corpus: Corpus,
    units: np.ndarray,
    tasks: Sequence[Task],
    probed: bool,
    least: int,
) -> list[Task]:
    """Tasks of all features that have a map, of probes or of effects.

    tasks: of the features that the run was asked for; without probes some may have no map.
    """
    names = dict.fromkeys(evidence.feature for one in maps for evidence in one.maps)
    mapped = [task for task in tasks if probed or task.feature in names]
    missing = [name for name in names if name not in {task.feature for task in mapped}]
    return mapped + [make_task(corpus, name, units, min_count=least) for name in missing]
