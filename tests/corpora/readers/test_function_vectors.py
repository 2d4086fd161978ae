"""Few-shot prompts: one pool each, the right answers, as many as asked; bad files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from probes.config import FunctionVectorsConfig
from probes.core.errors import UserError
from probes.corpora import load_corpus
from probes.corpora.readers.function_vectors import side_of

WORDS = [f"{a}{b}{c}" for a in "bdfgkl" for b in "aeiou" for c in "mnrst"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tasks: dict[str, Callable[[str], str]] = {
        "upper": str.upper,
        "first": lambda word: word[0],
        "twice": lambda word: word * 2,
    }
    for name, function in tasks.items():
        pairs = [{"input": word, "output": function(word)} for word in WORDS]
        (tmp_path / f"{name}.json").write_text(json.dumps(pairs))
    (tmp_path / "long.json").write_text(json.dumps([{"input": "x" * 200, "output": "y"}] * 9))
    return tmp_path


def test_prompts_are_made_of_one_side(folder: Path) -> None:
    config = FunctionVectorsConfig(
        path=str(folder), outputs=["first"], examples=30, output_examples=100, shots=3
    )
    corpus = load_corpus(config)
    task, first = corpus.features["task"], corpus.features["first"]
    assert task.classes == ("first", "twice", "upper") and task.level == "answer"
    assert np.bincount(task.codes[task.codes >= 0]).tolist() == [30] * 3
    assert (first.codes >= 0).sum() == 100
    assert corpus.notes == ("task 'long' left out: too few inputs of 100 characters",)
    expected = {"first": lambda w: w[0], "twice": lambda w: w * 2, "upper": str.upper}
    for unit, text in enumerate(corpus.texts):
        *shown, question = text.split("\n\n")
        pairs = [tuple(part[2:].strip() for part in pair.split("\n")) for pair in shown]
        asked = question.removeprefix("Q: ").removesuffix("\nA:")
        inputs = [word for word, _ in pairs] + [asked]
        assert len(set(inputs)) == 4
        assert {side_of(word) for word in inputs} == {corpus.splits[unit]}
        assert corpus.groups[unit] == asked
        if task.codes[unit] >= 0:
            name = task.classes[task.codes[unit]]
            assert all(output.strip() == expected[name](word) for word, output in pairs)
        if first.codes[unit] >= 0:
            assert first.classes[first.codes[unit]] == asked[0]


def test_seed(folder: Path) -> None:
    def texts(seed: int) -> tuple[str, ...]:
        return load_corpus(FunctionVectorsConfig(path=str(folder), seed=seed)).texts

    assert texts(0) == texts(0) != texts(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": ["uper"]}, r"corpus\.tasks=\[uper\].*first, long, twice, upper.*\[upper\]"),
        ({"outputs": ["x"]}, r"corpus\.outputs=\[x\]"),
        ({"tasks": ["long"]}, r"long\.json: 0 pairs with inputs of at most 100 characters"),
        ({"tasks": ["upper"], "shots": 150}, r"no side .* has more than corpus\.shots=150"),
        ({"shots": -1}, r"corpus\.shots=-1; allowed: 0 or more"),
        ({"question": "Q:"}, r"corpus\.question='Q:' lacks \{input\}"),
        ({"path": "/nowhere/at/all"}, r"no such file or directory"),
    ],
)
def test_mistakes(folder: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_corpus(FunctionVectorsConfig(**({"path": str(folder)} | change)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"t\.json, line 1: not JSON"),
        ('{"input": "x"}', r"t\.json is not a task of function vectors"),
        ('[{"input": "x"}]', r"KeyError: 'output'"),
        ("[]", r"corpus 'function_vectors' is empty.*'t' left out"),
    ],
)
def test_bad_files(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(UserError, match=message):
        load_corpus(FunctionVectorsConfig(path=str(tmp_path)))


def test_empty_copy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no tasks"):
        load_corpus(FunctionVectorsConfig(path=str(tmp_path)))


@pytest.mark.shared
def test_real_pairs(shared: Path) -> None:
    data = shared / "data" / "function_vectors"
    config = FunctionVectorsConfig(path=str(data), tasks=["antonym"], outputs=["word_length"])
    corpus = load_corpus(config)
    pairs = json.loads((data / "abstractive" / "word_length.json").read_text())
    length = {pair["input"]: pair["output"] for pair in pairs}
    feature = corpus.features["word_length"]
    found = [unit for unit in range(len(corpus.texts)) if feature.codes[unit] >= 0]
    assert len(found) == 400
    for unit in found:
        asked = corpus.texts[unit].rpartition("Q: ")[2].removesuffix("\nA:")
        assert feature.classes[feature.codes[unit]] == length[asked]
