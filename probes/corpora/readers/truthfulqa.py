"""TruthfulQA: is the answer true? Read at the last token of question and answer together.

Questions and prompt as in inference-time intervention (Li et al. 2023, arXiv 2306.03341), where
per-head probes of truth were first trained. All answers of a question are one group.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

from probes.config import TruthfulQAConfig
from probes.core.errors import UserError
from probes.corpora.answers import count_words
from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import UNASSIGNED, Corpus
from probes.corpora.files import existing, read_text
from probes.corpora.readers.columns import render
from probes.corpora.readers.records import is_dataset

FILES = ("mc_task.json", "data/mc_task.json", "TruthfulQA.csv")
"""Where a directory is searched, in this order: the paper probed the answers of mc_task.json."""

COLUMNS = ("Question", "Correct Answers", "Incorrect Answers")


def load(config: TruthfulQAConfig) -> Corpus:
    """The corpus of ``corpus=truthfulqa``; answers that a question lists twice are read once."""
    for name in ("{question}", "{answer}"):
        if name not in config.prompt:
            raise UserError(
                f"corpus.prompt={config.prompt!r} lacks {name}",
                fix="corpus.prompt='Q: {question} A: {answer}'",
            )
    builder = CorpusBuilder(config.name, group_name="question")
    seen: dict[tuple[str, str], str] = {}
    repeated = 0
    examples: dict[str, dict[str, list[int]]] = {"true": {}, "false": {}}
    for question, answer, truth in _answers(config):
        if (question, answer) in seen:
            repeated += 1
            continue
        seen[question, answer] = truth
        text = render(config.prompt, {"question": question, "answer": answer})
        asked = len(_asked(config, question))
        example = builder.add_text(text, group=question, split=UNASSIGNED, answered_at=asked)
        builder.add_unit(example, 0, len(text), "answer", {"truthful": truth})
        examples[truth].setdefault(question, []).append(example)
    for question, true in examples["true"].items():
        _add_answers(builder, config, question, true, examples["false"].get(question, []))
    return builder.build(
        default_features=("truthful",),
        descriptions={"truthful": "whether the answer to the question is true"},
        notes=[f"{repeated} repeated answers read once"] if repeated else [],
    )


def _add_answers(
    builder: CorpusBuilder,
    config: TruthfulQAConfig,
    question: str,
    true: list[int],
    false: list[int],
) -> None:
    """Each true answer of a question against its false ones, in all their words."""
    if not false:
        return
    asked = _asked(config, question)
    for example in true:
        text = builder.texts[example]
        if not text[len(asked) :].strip():
            continue  # the file has an empty answer
        others = [builder.texts[other] for other in false if builder.texts[other] != text]
        builder.add_answer(
            example,
            len(asked),
            text[len(asked) :],
            alternatives=[other[len(asked) :] for other in others],
            feature="truthful",
            sequence=True,
        )
        twin = next((other for other in others if count_words(other) == count_words(text)), None)
        if twin is not None:
            builder.add_contrast(example, twin, kind="false_answer")


def _asked(config: TruthfulQAConfig, question: str) -> str:
    """The prompt up to its answer."""
    return render(config.prompt.split("{answer}")[0], {"question": question}).rstrip()


def _answers(config: TruthfulQAConfig) -> Iterator[tuple[str, str, str]]:
    """Question, answer and ``true`` or ``false``."""
    if is_dataset(config.path):
        return _from_hub(config.path)
    path = _file(config)
    return _from_json(path) if path.suffix == ".json" else _from_csv(path)


def _file(config: TruthfulQAConfig) -> Path:
    path = existing(config.path, "corpus.path")
    if path.is_file():
        return path
    for name in FILES:
        if (path / name).is_file():
            return path / name
    raise UserError(f"corpus.path={path} holds no TruthfulQA file", allowed=", ".join(FILES))


def _from_hub(name: str) -> Iterator[tuple[str, str, str]]:
    from probes.corpora.readers.datasets import open_dataset

    dataset = open_dataset(name, "multiple_choice")
    for part in dataset:
        for number, row in enumerate(dataset[part]):
            try:
                targets = row["mc2_targets"]
                for answer, truth in zip(targets["choices"], targets["labels"], strict=True):
                    yield row["question"].strip(), answer.strip(), "true" if truth else "false"
            except (KeyError, TypeError, ValueError) as error:
                raise UserError(
                    f"{name} [{part}], row {number} is not of TruthfulQA "
                    f"({type(error).__name__}: {error})",
                    allowed="'question', and 'mc2_targets' with 'choices' and 'labels'",
                    fix="corpus.path=truthfulqa/truthful_qa",
                ) from error


def _from_json(path: Path) -> Iterator[tuple[str, str, str]]:
    try:
        questions = json.loads(read_text(path))
        for entry in questions:
            for answer, truth in entry["mc2_targets"].items():
                yield entry["question"].strip(), answer.strip(), "true" if truth else "false"
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is not TruthfulQA's mc_task.json ({type(error).__name__}: {error})",
            allowed="a list of objects with 'question' and 'mc2_targets'",
        ) from error


def _from_csv(path: Path) -> Iterator[tuple[str, str, str]]:
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise UserError(
            f"{path} has no column '{missing[0]}'", allowed="TruthfulQA.csv as published"
        )
    for row in reader:
        for column, truth in (("Correct Answers", "true"), ("Incorrect Answers", "false")):
            for answer in (row[column] or "").split(";"):
                if answer.strip():
                    yield row["Question"].strip(), answer.strip(), truth
