"""Texts that are run with every set of heads pushed by every strength, and what changes in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from probes.core.errors import UserError
from probes.core.files import digest
from probes.corpora.corpus import Corpus
from probes.corpora.tasks import Task
from probes.evaluation.dose_response import Changed, Dose, Perplexities
from probes.interventions.behaviour import Behaviour
from probes.interventions.directions import Push
from probes.interventions.editor import DownstreamProbe
from probes.interventions.effect_parts import EffectPart
from probes.interventions.measures import MEASURES
from probes.interventions.neutral_texts import neutral_texts, next_tokens, tokens_of
from probes.interventions.readout import ProbeReadout, Readout
from probes.interventions.scored_texts import ScoredTexts
from probes.interventions.steering import Positions, SteeredTokens, Steerer
from probes.models.language_model import has_output_head
from probes.pipeline.steering_of_run import SteeringOfRun
from probes.results.vocabulary.doses import LOG_ODDS
from probes.statistics.groups import Array, Codes

Downstream = tuple[Behaviour, DownstreamProbe]


@dataclass
class SteeredPasses:
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
        if answers_of is not None or answers_name_classes(self.run.corpus, task):
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


def answers_name_classes(corpus: Corpus, task: Task) -> bool:
    """Whether every text of the feature that has answers has the name of its class among them."""
    answers: dict[int, set[str]] = {}
    for answer in corpus.answers:
        answers.setdefault(answer.example, set()).add(answer.text.strip())
    of_texts = [
        task.classes[label] in answers[example]
        for example, label in zip(task.examples.tolist(), task.labels.tolist(), strict=True)
        if example in answers
    ]
    return bool(of_texts) and all(of_texts)


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
