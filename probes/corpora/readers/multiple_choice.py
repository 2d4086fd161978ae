"""Questions with lettered options: which letter is right, read where it is about to be said.

For MMLU (Hendrycks et al. 2021, arXiv 2009.03300), LogiQA (Liu et al. 2020, arXiv 2007.08124) and
tables of the same shape, from local files or the Hugging Face Hub.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from probes.config import MultipleChoiceConfig
from probes.core.errors import UserError, closest
from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import Corpus
from probes.corpora.missing import is_blank, is_missing
from probes.corpora.numbers import number
from probes.corpora.readers.columns import render
from probes.corpora.readers.records import Record, records

LETTERS = "ABCDEFGHIJ"


@dataclass(frozen=True)
class Question:
    """One question as it is asked."""

    question: str
    options: tuple[str, ...]
    answer: int
    """Index of the right option."""
    subject: str | None


def load(config: MultipleChoiceConfig) -> Corpus:
    """The corpus of ``corpus=mmlu`` and ``corpus=logiqa``; a question is a group.

    Features at END: ``answer`` (the letter) and ``subject``. Feature at the span of each option:
    ``correct`` (yes or no).
    """
    for name in ("{question}", "{options}"):
        if name not in config.prompt:
            raise UserError(f"corpus.prompt={config.prompt!r} lacks {name}")
    builder = CorpusBuilder(config.name, group_name="question")
    long = 0
    for split, question in read_questions(config):
        text, spans = _render(question, config.prompt)
        if len(text) > config.max_characters:
            long += 1
            continue
        example = builder.add_text(text, group=question.question, split=split)
        for option, (start, end) in enumerate(spans):
            correct = "yes" if option == question.answer else "no"
            builder.add_unit(example, start, end, "span", {"correct": correct})
        values = {"answer": LETTERS[question.answer], "subject": question.subject}
        builder.add_unit(example, 0, len(text), "answer", values)
        _add_answer(builder, example, question, config)
    return builder.build(
        default_features=("answer", "correct"),
        descriptions={
            "answer": "letter of the right option",
            "subject": "what the question is about",
            "correct": "whether the option is the right one",
        },
        notes=[f"{long} questions longer than {config.max_characters} characters left out"]
        if long
        else [],
    )


def _add_answer(
    builder: CorpusBuilder, example: int, question: Question, config: MultipleChoiceConfig
) -> None:
    """The right letter against the others, and a twin with the right option in another place."""
    text = builder.texts[example]
    space = "" if text[-1:].isspace() else " "
    letters = [f"{space}{letter}" for letter in LETTERS[: len(question.options)]]
    right = question.answer
    wrong = [number for number in range(len(letters)) if number != right]
    builder.add_answer(
        example,
        len(text),
        letters[right],
        alternatives=[letters[number] for number in wrong],
        feature="answer",
    )
    other = Random(f"twin of {text}").choice(wrong)
    options = list(question.options)
    options[right], options[other] = options[other], options[right]
    twin, _ = _render(replace(question, options=tuple(options)), config.prompt)
    if twin != text:
        builder.add_contrast(example, twin, kind="swapped_options", answer=letters[other])


def read_questions(config: MultipleChoiceConfig) -> Iterator[tuple[int, Question]]:
    """Split and question, of the subjects that were asked for."""
    seen = set()
    for record in records(config):
        question = _question(record, config)
        seen.add(question.subject or "")
        if not config.subjects or question.subject in config.subjects:
            yield record.split, question
    unknown = [name for name in config.subjects if name not in seen]
    if unknown:
        raise UserError(
            f"corpus.subjects=[{unknown[0]}]: no such subject",
            allowed=", ".join(sorted(seen)),
            fix=closest(unknown[0], sorted(seen), "corpus.subjects=[{}]"),
        )


def _question(record: Record, config: MultipleChoiceConfig) -> Question:
    columns = [name for pattern in config.options for name in fnmatch.filter(record.row, pattern)]
    texts = [record.column(name, "options") for name in columns or config.options[:1]]
    if len(texts) == 1 and isinstance(texts[0], list):
        texts = texts[0]
    options = tuple("" if is_missing(option) else str(option).strip() for option in texts)
    if not 2 <= len(options) <= len(LETTERS) or not all(options):
        raise UserError(
            f"{record.place}: {len(options)} options, {options.count('')} of them empty",
            allowed=f"2 to {len(LETTERS)} options, none empty",
        )
    raw = str(record.column(config.answer, "answer")).strip()
    answer = LETTERS.find(raw.upper()) if raw.isalpha() and len(raw) == 1 else _number(raw)
    if not 0 <= answer < len(options):
        raise UserError(
            f"{record.place}: the answer is {raw!r}",
            allowed=f"0 to {len(options) - 1}, or A to {LETTERS[len(options) - 1]}",
        )
    subject = record.row.get(config.subject, record.part)
    question = record.text(config.question, "question").strip()
    if is_blank(question):
        raise UserError(f"{record.place}: the question is empty")
    return Question(question, options, answer, str(subject) if subject else None)


def _number(raw: str) -> int:
    value = number(raw)  # 1.0 where a column of numbers has gaps
    return int(value) if value is not None and value == value.to_integral_value() else -1


def _render(question: Question, prompt: str) -> tuple[str, list[tuple[int, int]]]:
    """The prompt, and the characters of each option in it."""
    before, after = prompt.split("{options}", 1)
    text = render(before, {"question": question.question})
    spans: list[tuple[int, int]] = []
    for letter, option in zip(LETTERS, question.options, strict=False):
        text += f"{letter}. " if not spans else f"\n{letter}. "
        spans.append((len(text), len(text) + len(option)))
        text += option
    return text + after, spans
