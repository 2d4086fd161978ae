"""What effects are measured on: the scored texts of a feature, its measure, and who is edited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probes.config import SplitConfig
from probes.core.errors import UserError
from probes.corpora.corpus import TEST, TRAIN, VALIDATION, Corpus
from probes.corpora.splits import group_folds
from probes.corpora.tasks import Task
from probes.interventions.answer_tokens import score_answers
from probes.interventions.measures import MEASURES, Measure
from probes.interventions.scored_texts import IntArray, ScoredTexts, take_reads
from probes.models.handle import Handle
from probes.passes.alignment import Alignment

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Part:
    """Rows that are edited, and the rows that means and directions are taken from."""

    train: BoolArray
    """(N,) never scored in this part."""
    scored: BoolArray
    """(N,)"""
    fold: int = 0


@dataclass(frozen=True)
class Behaviour:
    """The rows of one feature, and how they are scored."""

    feature: str
    measure: Measure
    texts: ScoredTexts
    groups: IntArray
    """(N,) group of each row."""
    validation: BoolArray
    """(N,) rows that heads are chosen on; none with folds."""
    reported: BoolArray
    """(N,) rows whose effects are reported: test, or all of them with folds."""
    parts: tuple[Part, ...]
    """One, or one for each fold."""

    @property
    def folds(self) -> bool:
        """Whether heads are chosen on the rows that are reported."""
        return len(self.parts) > 1


def settled_measure(asked: str, corpus: Corpus, *, encoder: bool, reads_itself: bool) -> Measure:
    """The measure of ``measure=auto``, or the one that was asked for.

    encoder: the model predicts no next token. reads_itself: an encoder-decoder, whose decoder is
    given the text itself and not what follows it.

    Raises:
        UserError: a measure of what comes next, asked of a model that does not say.
    """
    measure = MEASURES.get(asked)
    silent = encoder or reads_itself
    if measure is None:
        words = any(not answer.sequence for answer in corpus.answers)
        name = "logit_difference" if words else "sentence_difference"
        if words and not any(a.alternatives for a in corpus.answers if not a.sequence):
            name = "log_probability"
        measure = MEASURES[name if corpus.answers and not silent else "downstream"]
    elif silent and measure.score is not None:
        raise UserError(
            f"measure={asked}: "
            + (
                "an encoder predicts no next token"
                if encoder
                else "the decoder of an encoder-decoder is given the text itself here"
            ),
            allowed="downstream; or a decoder",
            fix="measure=downstream",
        )
    return measure


def answering(
    corpus: Corpus,
    handle: Handle,
    measure: Measure,
    feature: str | None,
    split: SplitConfig,
    *,
    name: str,
    labelled: Sequence[str] = (),
) -> Behaviour:
    """The behaviour of saying the answers of a feature (None: all answers, or whole texts).

    name: of the feature in the results. labelled: only of texts in which something has a value of
        any of these features; none: of all texts.

    Raises:
        UserError: no answer can be scored, or none in a split that is needed.
    """
    usable = corpus.splits >= 0
    if labelled:
        units = np.any([corpus.feature(of).codes >= 0 for of in labelled], axis=0)
        usable &= np.bincount(corpus.units.example[units], minlength=len(usable)) > 0
    examples = np.flatnonzero(usable).tolist()
    texts = score_answers(corpus, handle, measure, feature=feature, examples=examples)
    return _split(name, measure, texts, corpus, split)


def decoding(task: Task, alignment: Alignment, corpus: Corpus, split: SplitConfig) -> Behaviour:
    """The behaviour of feeding what the last layer's probe of a feature decodes.

    task: of the feature, whose rows are those of the alignment.
    """
    texts = take_reads(alignment, task.rows, task.labels, task.examples)
    return _split(task.feature, MEASURES["downstream"], texts, corpus, split)


def _split(
    feature: str, measure: Measure, texts: ScoredTexts, corpus: Corpus, split: SplitConfig
) -> Behaviour:
    groups = corpus.group_codes[texts.example].astype(np.int64)
    of = corpus.splits[texts.example]
    if split.folds:
        fold = group_folds(groups, split.folds, split.seed)
        parts = tuple(
            Part((fold != f) & (fold != (f + 1) % split.folds), fold == f, f)
            for f in range(split.folds)
        )
        nothing = np.zeros(len(texts), dtype=bool)
        return Behaviour(feature, measure, texts, groups, nothing, ~nothing, parts)
    counts = {name: int((of == part).sum()) for name, part in _SPLITS.items()}
    for name in ("train", "test"):
        if not counts[name]:
            raise UserError(
                f"'{feature}': {name} has no text whose {measure.name} can be measured (of "
                f"{len(texts)} in all)",
                allowed="texts in train (for means) and in test",
                fix="split.source=group",
            )
    part = Part(of == TRAIN, of != TRAIN)
    return Behaviour(feature, measure, texts, groups, of == VALIDATION, of == TEST, (part,))


_SPLITS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}


def counts_line(behaviour: Behaviour) -> str:
    """Texts that are scored, in one line for the log."""
    rows = [
        f"{int(behaviour.validation.sum()):,} on validation",
        f"{int(behaviour.reported.sum()):,} reported",
    ]
    notes: Sequence[str] = behaviour.texts.notes
    return f"{behaviour.feature}: {behaviour.measure.name} of " + ", ".join([*rows, *notes])
