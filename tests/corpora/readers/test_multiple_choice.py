"""Lettered options from local copies in several shapes; what is wrong with a copy is said."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from probes.config import MultipleChoiceConfig
from probes.core.errors import UserError
from probes.corpora import load_corpus
from probes.corpora.corpus import TEST, TRAIN, Corpus

TABLE = "question,choice0,choice1,answer\nTwo?,one,two,1\n"
TRAIN_ONLY: dict[str, str | None] = {"train": "test", "validation": None, "test": None}


def values(corpus: Corpus, name: str) -> list[str]:
    feature = corpus.features[name]
    return [feature.classes[code] for code in feature.codes if code >= 0]


def test_prompt_spans_and_labels(tmp_path: Path) -> None:
    (tmp_path / "maths_test.csv").write_text(TABLE)
    (tmp_path / "maths_dev.csv").write_text("not,read\n")
    (tmp_path / "art_test.csv").write_text(
        'question,choice0,choice1,answer\n"Red, or?",red,"a, b",0'
    )
    config = MultipleChoiceConfig(path=str(tmp_path), splits=TRAIN_ONLY)
    corpus = load_corpus(config)
    assert corpus.texts == (
        "Red, or?\nA. red\nB. a, b\nAnswer:",
        "Two?\nA. one\nB. two\nAnswer:",
    )
    assert values(corpus, "answer") == ["A", "B"]
    assert values(corpus, "subject") == ["art", "maths"]
    correct = corpus.features["correct"]
    spans = [
        (corpus.unit_text(unit), correct.classes[code])
        for unit, code in enumerate(correct.codes)
        if code >= 0
    ]
    assert spans == [("red", "yes"), ("a, b", "no"), ("one", "no"), ("two", "yes")]
    assert (correct.level, corpus.features["answer"].level) == ("span", "answer")
    config.subjects = ["maths"]
    assert len(load_corpus(config).texts) == 1
    config.subjects = ["math"]
    with pytest.raises(UserError, match=r"subjects=\[math\].*art, maths.*\[maths\]"):
        load_corpus(config)


def test_shapes_agree(tmp_path: Path) -> None:
    """A headerless table with letters, JSON Lines and a JSON list of the same question."""
    row = {"context": "Rain.", "query": "Wet?", "options": ["no", "yes"], "correct": 1}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    (tmp_path / "b.json").write_text(json.dumps([row]))
    (tmp_path / "c.csv").write_text("Rain. Wet?,no,yes,B\n")
    listed = {"question": "{context} {query}", "options": ["options"], "answer": "correct"}
    columns = ["question", "A", "B", "answer"]
    shapes: list[dict[str, object]] = [
        {"path": str(tmp_path / "a.jsonl"), **listed},
        {"path": str(tmp_path / "b.json"), **listed},
        {"path": str(tmp_path / "c.csv"), "columns": columns, "options": ["A", "B"]},
    ]
    corpora = [load_corpus(MultipleChoiceConfig(**shape)) for shape in shapes]  # type: ignore[arg-type]
    assert len({corpus.texts for corpus in corpora}) == 1
    assert [values(corpus, "answer") for corpus in corpora] == [["B"]] * 3


def test_shipped_split_and_limits(tmp_path: Path) -> None:
    rows = [{"question": f"{i}?", "choices": ["a", "b"], "answer": i % 2} for i in range(3)]
    rows.append({"question": "x" * 2000, "choices": ["a", "b"], "answer": 0})
    for part in ("train", "test"):
        (tmp_path / f"{part}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    corpus = load_corpus(MultipleChoiceConfig(path=str(tmp_path)))
    assert corpus.splits.tolist() == [TRAIN] * 3 + [TEST] * 3
    assert corpus.notes == ("2 questions longer than 1000 characters left out",)
    assert len(load_corpus(MultipleChoiceConfig(path=str(tmp_path), max_examples=1)).texts) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.csv", "", r"corpus 'multiple_choice' is empty"),
        (
            "train.csv",
            TABLE.replace(",1\n", ",2\n"),
            r"the answer is '2'; allowed: 0 to 1, or A to B",
        ),
        ("train.csv", TABLE.replace("one", ""), r"line 2: 2 options, 1 of them empty"),
        ("train.csv", TABLE.replace("answer", "key"), r"answer=answer: .*no column 'answer'"),
        ("train.csv", TABLE.replace("choice", "pick"), r"options=choice\*.*no column"),
        ("train.csv", TABLE.replace("question", "q"), r"question=question: .*no column"),
        ("train.jsonl", "{", r"line 1: not JSON"),
        ("train.json", "{}", r"not a JSON list of objects"),
        ("other.csv", TABLE, r"none of its 1 files is named after 'train'.*other\.csv"),
    ],
)
def test_bad_copies(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        load_corpus(MultipleChoiceConfig(path=str(tmp_path)))


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is empty.*\.csv"):
        load_corpus(MultipleChoiceConfig(path=str(tmp_path)))
    with pytest.raises(UserError, match=r"corpus\.path=.*no such file or directory"):
        load_corpus(MultipleChoiceConfig(path=str(tmp_path / "a" / "b.csv")))
    with pytest.raises(UserError, match=r"corpus\.path is not set"):
        load_corpus(MultipleChoiceConfig())
    with pytest.raises(UserError, match=r"lacks \{options\}"):
        load_corpus(MultipleChoiceConfig(path=str(tmp_path), prompt="{question}"))
    (tmp_path / "train.csv").write_text(TABLE)
    with pytest.raises(UserError, match=r"2 names, and .* has 4 columns"):
        load_corpus(MultipleChoiceConfig(path=str(tmp_path), columns=["question", "answer"]))


@pytest.mark.shared
def test_real_mmlu(shared: Path) -> None:
    data = shared / "data" / "mmlu"
    config = MultipleChoiceConfig(
        path=str(data), splits=TRAIN_ONLY, subjects=["anatomy", "virology"], max_characters=10_000
    )
    corpus = load_corpus(config)
    raw = []
    for subject in config.subjects:
        with open(data / "test" / f"{subject}_test.csv", newline="") as file:
            raw += list(csv.DictReader(file))
    assert len(corpus.texts) == len(raw)
    assert values(corpus, "answer") == ["ABCD"[int(row["answer"])] for row in raw]
    assert np.bincount(corpus.features["correct"].codes + 1).tolist() == [
        len(raw),
        3 * len(raw),
        len(raw),
    ]
    for text, row in zip(corpus.texts, raw, strict=True):
        assert text.endswith(f"D. {row['choice3'].strip()}\nAnswer:")


def test_missing_cells_are_no_options_and_no_questions(tmp_path: Path) -> None:
    row = {"question": "Two?", "choice0": "one", "choice1": "two", "answer": 1.0}
    file = tmp_path / "t.json"
    file.write_text(json.dumps([row]))
    assert values(load_corpus(MultipleChoiceConfig(path=str(file))), "answer") == ["B"]
    for name, message in (("choice0", r"1: 2 options, 1 of them empty"), ("question", "1: the q")):
        file.write_text(json.dumps([{**row, name: float("nan")}]))
        with pytest.raises(UserError, match=message):
            load_corpus(MultipleChoiceConfig(path=str(file)))
