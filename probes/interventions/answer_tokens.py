"""From a corpus' answers to the tokens that a model should predict, and where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from probes.core.errors import UserError
from probes.corpora.answers import Answer
from probes.corpora.corpus import Corpus
from probes.interventions.measures import Measure
from probes.interventions.scored_texts import ScoredTexts, alignment_of
from probes.models.handle import Handle
from probes.models.tokens import Encoding

AT_ONCE = 4000
"""Texts that are tokenised together."""


def score_answers(
    corpus: Corpus,
    handle: Handle,
    measure: Measure,
    *,
    feature: str | None = None,
    examples: Sequence[int] | None = None,
) -> ScoredTexts:
    """Where the answers of a corpus are predicted, in the tokens of the model.

    Every text is tokenised together with its answer, as a whole; the answer begins with the first
    token that holds a letter of it, whether or not a space before it is part of that token. An
    alternative counts where its tokens are those of the answer up to there. Left out and counted:
    answers with which a text begins (nothing was read before them), alternatives that begin with
    the answer's own token, answers that have no alternative left where ``measure`` needs one, and
    texts beyond the context.

    feature: only its answers; None: all. examples: only these texts of the corpus.

    Raises:
        UserError: where nothing is left, with the reasons counted.
    """
    if measure.texts:
        return _whole_texts(corpus, handle, examples)
    chosen = _answers(corpus, measure, feature, examples)
    reader = _SentenceReader if measure.sentences else _AnswerReader
    collected = reader(corpus, handle, measure)
    for example, answers in groupby(chosen, key=lambda answer: answer.example):
        collected.add(example, list(answers))
    return collected.finish(f"measure={measure.name}")


def answer_features(corpus: Corpus, wanted: Sequence[str]) -> list[str | None]:
    """Whose answers are measured: those of each wanted feature that has any, else all together."""
    of = {answer.feature for answer in corpus.answers}
    named = [feature for feature in wanted if feature in of]
    return [*named] if named else [None]


def require_answers(corpus: Corpus, measure: Measure) -> None:
    """Refuse a corpus whose texts have no answers that a measure could score.

    Raises:
        UserError: with the measure that does.
    """
    if measure.score is None or measure.texts:
        return
    if not corpus.answers:
        raise UserError(
            f"measure={measure.name}: corpus '{corpus.name}' says of no text what comes next",
            allowed="corpora with answers (ioi, facts, induction, ..., tables with corpus.answer)",
            fix="measure=downstream",
        )
    if not any(answer.sequence == measure.sentences for answer in corpus.answers):
        fix = "measure=sentence_difference" if not measure.sentences else "measure=logit_difference"
        raise UserError(
            f"measure={measure.name}: the answers of corpus '{corpus.name}' are "
            + ("words" if measure.sentences else "whole sentences"),
            fix=fix,
        )


def _answers(
    corpus: Corpus, measure: Measure, feature: str | None, examples: Sequence[int] | None
) -> Iterable[Answer]:
    require_answers(corpus, measure)
    wanted = None if examples is None else set(examples)
    fitting = [a for a in corpus.answers if a.sequence == measure.sentences]
    return [
        a
        for a in fitting
        if (feature is None or a.feature == feature) and (wanted is None or a.example in wanted)
    ]


def encode_all(handle: Handle, texts: Sequence[str], replies: Sequence[int]) -> list[Encoding]:
    """The tokens of many texts, of which not all are in the tokenizer at once."""
    encodings: list[Encoding] = []
    for begin in range(0, len(texts), AT_ONCE):
        some = slice(begin, begin + AT_ONCE)
        encodings += handle.encode(texts[some], replies[some])
    return encodings


@dataclass
class _Reader:
    """Sequences, reads and parts, as they are collected."""

    corpus: Corpus
    handle: Handle
    measure: Measure
    sequences: list[list[int]] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    reads: list[tuple[int, int]] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    others: list[list[int]] = field(default_factory=list)
    part: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    bad: list[bool] = field(default_factory=list)
    examples: list[int] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)

    def add(self, example: int, answers: list[Answer]) -> None:
        raise NotImplementedError

    def fits(self, ids: Sequence[int]) -> bool:
        if len(ids) <= self.handle.context:
            return True
        self.notes["texts beyond the context"] += 1
        return False

    def read(self, sequence: int, token: int, target: int, others: list[int]) -> None:
        """Score what is predicted after a token of a sequence, as a read of the last part."""
        self.reads.append((sequence, token))
        self.targets.append(target)
        self.others.append(others)
        self.part.append(len(self.rows) - 1)

    def begin_part(self, *, bad: bool = False) -> None:
        self.rows.append(len(self.examples) - 1)
        self.bad.append(bad)

    def finish(self, what: str) -> ScoredTexts:
        notes = tuple(f"{count} {name} left out" for name, count in self.notes.items())
        if not self.examples:
            raise UserError(
                f"{what}: no answer of corpus '{self.corpus.name}' can be scored"
                + "".join(f"; {note}" for note in notes),
                fix="measure=downstream",
            )
        counts = [len(others) for others in self.others]
        return ScoredTexts(
            alignment_of(self.sequences, self.owners, self.reads),
            part=np.array(self.part, dtype=np.int64),
            row=np.array(self.rows, dtype=np.int64),
            bad=np.array(self.bad, dtype=bool),
            example=np.array(self.examples, dtype=np.int64),
            targets=np.array(self.targets, dtype=np.int64),
            others=np.array([t for others in self.others for t in others], dtype=np.int64),
            bounds=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            notes=notes,
        )


class _AnswerReader(_Reader):
    """Answers in words: the token before each is read, in one sequence a text."""

    def add(self, example: int, answers: list[Answer]) -> None:
        text = self.corpus.texts[example]
        last = answers[-1]
        whole = text if last.offset < len(text) else text + last.text
        reply = self.corpus.replies[example]
        written, replies = [whole], [reply]
        for answer in answers:
            written += [text[: answer.offset] + other for other in answer.alternatives]
            replies += [reply if reply <= answer.offset else -1] * len(answer.alternatives)
        encoding, *alternatives = self.handle.encode(written, replies)
        if not self.fits(encoding.ids):
            return
        usable: list[tuple[Answer, int, list[int]]] = []
        position = 0
        for answer in answers:
            of_answer = alternatives[position : position + len(answer.alternatives)]
            position += len(answer.alternatives)
            begin = first_token(encoding, answer.offset + _space(answer.text))
            if begin is None or begin == 0:
                self.notes["answers before which nothing was read"] += 1
                continue
            others = self._others(encoding, begin, of_answer)
            if self.measure.alternatives and not others:
                self.notes["answers without an alternative that begins with another token"] += 1
                continue
            usable.append((answer, begin, others))
        if not usable:
            return
        self.examples.append(example)
        self.owners.append(example)
        sequence, end = len(self.sequences), 0
        for answer, begin, others in usable:
            self.begin_part()
            stop = begin + 1
            if self.measure.every_token:
                stop = _end(encoding, answer.offset + len(answer.text), begin)
            for token in range(begin, stop):
                self.read(sequence, token - 1, encoding.ids[token], others)
            end = stop - 1
        self.sequences.append(list(encoding.ids[:end]))

    def _others(
        self, encoding: Encoding, begin: int, alternatives: Sequence[Encoding]
    ) -> list[int]:
        """First tokens of the alternatives of the answer that begins with token ``begin``."""
        others: dict[int, None] = {}
        for other in alternatives:
            if other.ids[:begin] != encoding.ids[:begin] or len(other.ids) <= begin:
                self.notes["alternatives whose tokens merge with the text before them"] += 1
            elif other.ids[begin] == encoding.ids[begin]:
                self.notes["alternatives that begin with the answer's own token"] += 1
            else:
                others.setdefault(other.ids[begin])
        return list(others)


class _SentenceReader(_Reader):
    """Sentences, or answers in sentences: all of their tokens are read, one sequence each."""

    def add(self, example: int, answers: list[Answer]) -> None:
        text = self.corpus.texts[example]
        for answer in answers:
            before = text[: answer.offset]
            written = [answer.text, *answer.alternatives]
            encodings = self.handle.encode(
                [before + other for other in written], [self.corpus.replies[example]] * len(written)
            )
            starts = [first_token(encoding, answer.offset) for encoding in encodings]
            if any(len(e.ids) > self.handle.context for e in encodings):
                self.notes["texts beyond the context"] += 1
                continue
            if len(encodings) < 2 or any(start is None for start in starts):
                self.notes["answers without alternatives"] += 1
                continue
            self.examples.append(example)
            for number, (encoding, start) in enumerate(zip(encodings, starts, strict=True)):
                assert start is not None
                stop = _end(encoding, len(before) + len(written[number]), start)
                self.begin_part(bad=number > 0)
                # Without a token before it the first one is not predicted, in any of them.
                for token in range(max(start, 1), stop):
                    self.read(len(self.sequences), token - 1, encoding.ids[token], [])
                self.owners.append(example)
                self.sequences.append(list(encoding.ids[: stop - 1]) or list(encoding.ids[:1]))


def _whole_texts(corpus: Corpus, handle: Handle, examples: Sequence[int] | None) -> ScoredTexts:
    """All tokens of every text but the first, each predicted from those before it."""
    reader = _Reader(corpus, handle, Measure("loss", None, texts=True))
    wanted = range(len(corpus.texts)) if examples is None else examples
    encodings = encode_all(
        handle, [corpus.texts[e] for e in wanted], [corpus.replies[e] for e in wanted]
    )
    for example, encoding in zip(wanted, encodings, strict=True):
        tokens = [t for t in range(1, len(encoding.ids)) if not encoding.special[t]]
        if not reader.fits(encoding.ids) or not tokens:
            continue
        reader.examples.append(example)
        reader.owners.append(example)
        reader.begin_part()
        for token in tokens:
            reader.read(len(reader.sequences), token - 1, encoding.ids[token], [])
        reader.sequences.append(list(encoding.ids[: tokens[-1]]))
    return reader.finish("measure=loss")


def first_token(encoding: Encoding, offset: int) -> int | None:
    """The first token of the text that reaches beyond a character; None without one."""
    for token, ((start, end), special) in enumerate(
        zip(encoding.offsets, encoding.special, strict=True)
    ):
        if not special and end > offset and end > start:
            return token
    return None


def _space(text: str) -> int:
    """White space with which a text begins."""
    return len(text) - len(text.lstrip())


def _end(encoding: Encoding, offset: int, begin: int) -> int:
    """One past the last token that begins before a character, from ``begin`` on."""
    end = begin
    for token in range(begin, len(encoding.ids)):
        if encoding.special[token] or encoding.offsets[token][0] >= offset:
            break
        end = token + 1
    return max(end, begin + 1)
