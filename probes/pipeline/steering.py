"""Steering as part of a run: which heads are pushed, on which rows, and against what."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from probes.activations.cache import Cache
from probes.activations.extraction import extract
from probes.config import LinearConfig, RunConfig
from probes.core.errors import UserError, closest
from probes.core.files import digest
from probes.corpora.corpus import TEXT_LEVELS, TRAIN, Corpus
from probes.corpora.tasks import Task, make_task
from probes.evaluation.dose_response import Changed, Dose, Perplexities, dose_rows
from probes.evaluation.table_rows import Row
from probes.interventions.behaviour import Behaviour
from probes.interventions.directions import (
    Push,
    class_difference,
    class_weight,
    covariance_directions,
    other_heads,
    push_along,
    random_directions,
)
from probes.interventions.editor import DownstreamProbe, Editor
from probes.interventions.effect_parts import EffectPart
from probes.interventions.measures import MEASURES
from probes.interventions.neutral_texts import neutral_texts, next_tokens, tokens_of
from probes.interventions.readout import ProbeReadout, Readout
from probes.interventions.scored_texts import ScoredTexts
from probes.interventions.steering import Positions, SteeredTokens, Steerer
from probes.models.handle import Handle
from probes.models.language_model import has_output_head
from probes.models.sites import Site
from probes.results.steered import SteeredHead, SteeringRecord
from probes.results.vocabulary.comparators import (
    RANDOM_COVARIANCE,
    RANDOM_DIRECTION,
    RANDOM_HEADS,
    is_comparator,
)
from probes.results.vocabulary.doses import LOG_ODDS
from probes.results.vocabulary.methods import METHODS, PROBE, TOTAL
from probes.results.vocabulary.sites import HEADS
from probes.statistics.bootstrap import Draws, draw_groups
from probes.statistics.groups import Array, Codes
from probes.statistics.maps import MapEvidence
from probes.training.chunk_fit import ChunkFit
from probes.training.fit import fit_banks
from probes.training.problems import ActivationSource, ProblemSet, real_problem

BoolArray = npt.NDArray[np.bool_]
Downstream = tuple[Behaviour, DownstreamProbe]


@dataclass(frozen=True)
class Steered:
    """What steering one feature gave."""

    rows: list[Row]
    record: SteeringRecord


@dataclass
class SteeringOfRun:
    """Steers the features of a run."""

    config: RunConfig
    corpus: Corpus
    handle: Handle
    cache_dir: Path
    memory_budget: int
    editor: Editor
    maps: Sequence[MapEvidence]
    """Of the run so far, by which heads are chosen."""
    _notes: list[str] = field(default_factory=list)

    def steer(
        self,
        name: str,
        behaviour: Behaviour | None,
        answers_of: str | None,
        downstream: Callable[[], Downstream],
    ) -> Steered:
        """Steer towards a class of the feature ``name``.

        behaviour: of answers, whose measure changes; None: only the last layer's probe is read.
        answers_of: the feature whose classes the answers stand for; None: of none.
        downstream: the rows of the feature, and the last layer's probe.

        Raises:
            UserError: the feature has no such class, or the run no map of it.
        """
        config = self.config.steering
        self._notes = []
        towards = wanted_class(self.corpus, name, config.towards)
        chosen_by, ranked = ranked_heads(self.maps, name, self.config.probe.name, self.editor)
        sizes = list(dict.fromkeys(min(k, len(ranked)) for k in config.heads))
        if len(sizes) < len(config.heads):
            self._notes.append(f"there are {len(ranked)} heads, so that larger sets are left out")
        rows = self._training_rows(name, ranked[: max(sizes)])
        if towards not in rows.task.classes:
            raise no_such_class(name, towards, rows.task.classes)
        code = rows.task.classes.index(towards)
        along = self._along(rows, code)
        pushes = [along(site, head) for site, head in ranked[: max(sizes)]]
        sets = {
            (variant, size, draw): pushed
            for size in sizes
            for (variant, draw), pushed in self._sets(pushes[:size], along, rows).items()
        }
        strengths = sorted({0.0, *map(float, config.strengths)})
        doses = [(key, strength) for key in sets for strength in strengths]
        pushed = [[push.times(strength) for push in sets[key]] for key, strength in doses]
        passes = _Passes(self, name, doses, pushed)
        changed = []
        if behaviour is not None:
            changed += passes.answers(behaviour, answers_of, rows.task, code, config.positions)
        changed += passes.log_odds(downstream, code, config.positions)
        perplexities, neutral = passes.neutral()
        record = SteeringRecord(
            feature=name,
            towards=towards,
            direction=config.direction,
            positions=config.positions,
            chosen_by=chosen_by,
            heads=[
                SteeredHead(push.site.stream, push.site.layer, push.head, round(push.norm, 6))
                for push in pushes
            ],
            sets=sizes,
            metric=changed[0].metric if changed else "",
            neutral=neutral,
            draws=config.draws,
            notes=list(dict.fromkeys(self._notes)),
        )
        made = dose_rows(name, config.direction, config.positions, changed, perplexities)
        return Steered(made, record)

    def note(self, sentence: str) -> None:
        """Say on the page what was left out."""
        self._notes.append(sentence)

    def draws(self, groups: Codes) -> Draws | None:
        """Of the bootstrap over the groups of some rows; None without intervals."""
        count = len(np.unique(groups))
        evaluation = self.config.evaluation
        if not evaluation.bootstrap or count < 2:
            return None
        return draw_groups(
            count, evaluation.bootstrap, seed=self.config.seed, confidence=evaluation.confidence
        )

    def _sets(
        self, pushes: Sequence[Push], along: Callable[[Site, int], Push], rows: _TrainingRows
    ) -> dict[tuple[str, int], list[Push]]:
        """The pushes of a set of heads and of its controls, by variant and draw."""
        sets = {(self.config.steering.direction, 0): list(pushes)}
        for draw in range(self.config.steering.draws):
            seed = self.config.seed * 1000 + draw
            sets[RANDOM_DIRECTION, draw] = random_directions(pushes, seed)
            sets[RANDOM_COVARIANCE, draw] = covariance_directions(pushes, rows.of, seed)
            sets[RANDOM_HEADS, draw], again = other_heads(pushes, along, seed)
            if again:
                self._notes.append(
                    f"of the random heads beside {len(pushes)}, {again} are pushed ones "
                    "themselves, because too many of their layer are"
                )
        return sets

    def _along(self, rows: _TrainingRows, code: int) -> Callable[[Site, int], Push]:
        """The push of a head along its own direction of the class."""
        is_class = torch.from_numpy(rows.task.labels[rows.train] == code)
        if self.config.steering.direction == "probe":
            weights = self._probe_weights(rows)

            def along(site: Site, head: int) -> Push:
                weight = weights[site.stream, site.layer, head]
                return push_along(site, head, class_weight(weight, code), rows.of(site, head))

            return along

        def along_means(site: Site, head: int) -> Push:
            z = rows.of(site, head)
            return push_along(site, head, class_difference(z, is_class), z)

        return along_means

    def _training_rows(self, name: str, heads: Sequence[tuple[Site, int]]) -> _TrainingRows:
        """Where the probes of the feature read, in the layers of these heads."""
        config = self.config
        cache = extract(
            self.handle,
            self.corpus,
            sites=[HEADS],
            layers=sorted({site.layer for site, _ in heads}),
            position=config.position,
            extraction=config.extraction,
            cache_dir=self.cache_dir,
            truncate=config.truncate,
            whole_texts=self.corpus.feature(name).level in TEXT_LEVELS,
            memory_budget=self.memory_budget,
        )[HEADS]
        task = make_task(self.corpus, name, cache.rows["unit"], min_count=config.min_count)
        return _TrainingRows(cache, task, task.split == TRAIN)

    def _probe_weights(self, rows: _TrainingRows) -> dict[tuple[str, int, int], Tensor]:
        """(K, D) weights for raw outputs of each head's linear probe, by stream, layer and head."""
        problems = ProblemSet(rows.task, (real_problem(rows.task),))
        config = self.config.probe
        weights: dict[tuple[str, int, int], Tensor] = {}

        def on_fit(fit: ChunkFit) -> None:
            bank = fit.bank(0)
            for head, weight in zip(bank.heads, bank.tensors["weight"], strict=True):
                weights[bank.stream, bank.layer, head] = weight.cpu().clone()

        fit_banks(
            [ActivationSource(HEADS, rows.cache, (problems,))],
            config if isinstance(config, LinearConfig) else LinearConfig(),
            self.config.trainer,
            memory_budget=self.memory_budget,
            on_fit=on_fit,
        )
        return weights


@dataclass(frozen=True)
class _TrainingRows:
    """Outputs of heads on the training rows of a feature, where its probes read."""

    cache: Cache
    task: Task
    train: BoolArray
    """(n,) of the task's rows."""

    def of(self, site: Site, head: int) -> Tensor:
        """(n, D) of one head, a copy."""
        rows = torch.from_numpy(self.task.rows[self.train])
        return self.cache.layer(site.layer, site.stream)[head][rows]


@dataclass
class _Passes:
    """Runs all doses over texts, and takes the mean over the draws of a control."""

    run: SteeringOfRun
    feature: str
    doses: Sequence[tuple[tuple[str, int, int], float]]
    """Variant, size of the set and draw; strength."""
    pushed: Sequence[Sequence[Push]]
    """What each dose adds."""

    def answers(
        self,
        behaviour: Behaviour,
        answers_of: str | None,
        task: Task,
        code: int,
        positions: Positions | str,
    ) -> list[Changed]:
        """The change of the corpus' measure on reported rows, the larger the more of the class."""
        sign = np.ones(len(behaviour.texts))
        if answers_of is not None:
            sign = class_signs(behaviour.texts, task, code)
        rows = behaviour.reported & (sign != 0)
        if not rows.any():
            self.run.note(
                f"no reported answer is of the class '{task.classes[code]}': only the last layer's "
                "probe is read"
            )
            return []
        texts = behaviour.texts.take(rows)
        changes = self._changes(
            texts, self.run.editor.readout(texts, behaviour.measure), positions, "steered answers"
        )
        return [self._changed(behaviour.measure.name, changes * sign[rows], behaviour.groups[rows])]

    def log_odds(
        self, downstream: Callable[[], Downstream], code: int, positions: Positions | str
    ) -> list[Changed]:
        """The change of the log-odds of the class by the last layer's probe, on reported rows."""
        if positions == "generated":
            self.run.note("the last layer's probe is not read: it reads no generated tokens")
            return []
        try:
            behaviour, probe = downstream()
        except UserError as error:
            self.run.note(f"the last layer's probe is not read: {error}")
            return []
        texts = behaviour.texts.take(behaviour.reported)
        texts = dataclasses.replace(texts, targets=np.full_like(texts.targets, code))
        readout = self.run.editor.readout(texts, behaviour.measure, probe)
        assert isinstance(readout, ProbeReadout)
        readout = dataclasses.replace(readout, log_odds=True)
        changes = self._changes(texts, readout, positions, "steered log-odds")
        return [self._changed(LOG_ODDS, changes, behaviour.groups[behaviour.reported])]

    def neutral(self) -> tuple[Perplexities | None, str]:
        """The loss of neutral texts with all tokens but the first pushed, and what they are."""
        editor = self.run.editor
        if self.run.handle.kind != "decoder" or not has_output_head(editor.model):
            self.run.note(
                "perplexity is not measured: the model predicts no next token, so that nothing "
                "says how much a push breaks"
            )
            return None, ""
        given, what = neutral_texts(self.run.corpus, self.run.config.steering.neutral)
        texts = next_tokens(given, self.run.handle, seed=self.run.config.seed)
        tokens = tokens_of(texts)
        measure = MEASURES["log_probability"]
        readout = editor.readout(texts, measure)
        steerer = self._steerer()
        _, steered = steerer.run(
            editor.plan(texts), readout, SteeredTokens(texts, "all"), self.pushed,
            named=self._named("neutral " + digest(given)),
            label=editor.label("steered neutral texts"),
        )  # fmt: skip
        losses = self._means(-steered.numpy())
        what = f"{what} ({len(texts):,} texts, {int(tokens.sum()):,} tokens)"
        return Perplexities(losses, tokens, self.run.draws(np.arange(len(texts)))), what

    def _changes(
        self, texts: ScoredTexts, readout: Readout, positions: Positions | str, label: str
    ) -> Array:
        editor = self.run.editor
        tokens = SteeredTokens(texts, positions)  # type: ignore[arg-type]
        return self._steerer().changes(
            editor.plan(texts),
            readout,
            tokens,
            self.pushed,
            named=self._named(label),
            label=editor.label(label),
        )

    def _named(self, texts: str) -> EffectPart:
        """The parts that are kept of passes over some texts."""
        return EffectPart("steering", self.feature, edit=texts)

    def _steerer(self) -> Steerer:
        editor = self.run.editor
        return Steerer(
            editor.restart,
            self.run.handle.kind,
            editor.sites,
            memory_budget=self.run.memory_budget,
            tokens_at_once=editor.tokens_per_batch,
            parts=editor.parts,
        )

    def _changed(self, metric: str, changes: Array, groups: Codes) -> Changed:
        draws = self.run.draws(groups)
        return Changed(metric, self._means(changes), groups, draws)

    def _means(self, values: Array) -> Mapping[Dose, Array]:
        """(N,) for each dose: the mean over its draws."""
        by_dose: dict[Dose, list[Array]] = {}
        for ((variant, size, _), strength), of in zip(self.doses, values, strict=True):
            by_dose.setdefault(Dose(variant, size, strength), []).append(of)
        return {dose: np.mean(of, axis=0) for dose, of in by_dose.items()}


def wanted_class(corpus: Corpus, feature: str, towards: str | None) -> str:
    """The class to steer to: the one asked for, else the second.

    Raises:
        UserError: the feature has no such class.
    """
    classes = corpus.feature(feature).classes
    if towards is None:
        return classes[min(1, len(classes) - 1)]
    if towards not in classes:
        raise no_such_class(feature, towards, classes)
    return towards


def no_such_class(feature: str, towards: str, classes: Sequence[str]) -> UserError:
    """That a class is none of those that can be steered to."""
    return UserError(
        f"steering.towards={towards}: '{feature}' has no such class",
        allowed=", ".join(classes[:30]),
        fix=closest(towards, list(classes), "steering.towards={}"),
    )


def ranked_heads(
    maps: Sequence[MapEvidence], feature: str, probe: str, editor: Editor
) -> tuple[str, list[tuple[Site, int]]]:
    """The heads that are edited, the best on validation first, and what they were chosen by.

    By the accuracy of probes where there are any, else by the size of the total effect of the first
    other method.

    Raises:
        UserError: the run has no map of the feature with values on validation.
    """
    of_heads = [m for m in maps if m.feature == feature and m.site == HEADS]
    own_maps = [m for m in of_heads if not is_comparator(m.probe) and m.weights is None]
    usable = [m for m in own_maps if np.isfinite(m.validation).any()]
    own = [m for m in usable if m.method == PROBE and m.probe == probe]
    effects = [m for m in usable if m.method != PROBE]
    own += sorted(effects, key=lambda m: m.effect != TOTAL)
    if not own:
        raise no_map(feature, sorted({m.feature for m in maps if m.site == HEADS}))
    chosen = own[0]
    value = chosen.validation if chosen.method == PROBE else np.abs(chosen.validation)
    value = np.where(np.isfinite(value), value, -np.inf)
    sites = {(site.stream, site.layer): site for site in editor.sites}
    order = np.argsort(-value, kind="stable").tolist()
    keys = [chosen.keys[number] for number in order if value[number] > -np.inf]
    ranked = [(sites[stream, layer], head) for stream, layer, head in keys]
    what = METHODS[chosen.method].variant(chosen.probe).label
    size = "accuracy" if chosen.method == PROBE else "size of the effect"
    return f"{size} of the {what} on validation", ranked


def no_map(feature: str, others: Sequence[str]) -> UserError:
    """That nothing says which heads of a feature are the best."""
    return UserError(
        f"methods=[steering]: the run has no map of '{feature}' with values on validation, by "
        "which heads could be chosen",
        allowed=f"features with a map ({', '.join(others) or 'none'})",
        fix=f"features=[{feature}] methods=[probe,steering]",
    )


def class_signs(texts: ScoredTexts, task: Task, code: int) -> Array:
    """(N,) 1 where a row's answer is of the class, -1 where it is of the other of two; 0: left out.

    Of more than two classes only the rows of the class itself count: what a push takes from another
    answer goes anywhere. A text with several rows of the feature has no class of its own.
    """
    labels: dict[int, set[int]] = {}
    for example, label in zip(task.examples.tolist(), task.labels.tolist(), strict=True):
        labels.setdefault(example, set()).add(label)
    of_rows = [labels.get(example, set()) for example in texts.example.tolist()]
    other = -1.0 if len(task.classes) == 2 else 0.0
    return np.array([0.0 if len(of) != 1 else 1.0 if of == {code} else other for of in of_rows])
