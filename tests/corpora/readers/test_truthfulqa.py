"""Question and answer together, true or false, grouped by question."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from probes.config import SplitConfig, TruthfulQAConfig
from probes.core.errors import UserError
from probes.corpora import load_corpus
from probes.corpora.corpus import TEST, TRAIN
from probes.corpora.splits import assign_splits

CSV = (
    "Question,Correct Answers,Incorrect Answers\n"
    '"Who, then?",Nobody; Not me ;Nobody,Everyone\nWhy?,Because,'
)


def test_csv_and_json_agree(tmp_path: Path) -> None:
    (tmp_path / "TruthfulQA.csv").write_text(CSV)
    targets = [
        {
            "question": "Who, then?",
            "mc2_targets": {"Nobody": 1, "Not me": 1, "Everyone": 0},
        },
        {"question": "Why?", "mc2_targets": {"Because": 1}},
    ]
    table = load_corpus(TruthfulQAConfig(path=str(tmp_path)))
    (tmp_path / "mc_task.json").write_text(json.dumps(targets))
    listed = load_corpus(TruthfulQAConfig(path=str(tmp_path)))
    assert table.notes == ("1 repeated answers read once",) and listed.notes == ()
    assert table.fingerprint == listed.fingerprint
    assert table.texts == (
        "Q: Who, then? A: Nobody",
        "Q: Who, then? A: Not me",
        "Q: Who, then? A: Everyone",
        "Q: Why? A: Because",
    )
    assert table.groups == ("Who, then?",) * 3 + ("Why?",)
    feature = table.features["truthful"]
    assert [feature.classes[code] for code in feature.codes] == ["true", "true", "false", "true"]
    assert feature.level == "answer"
    assert [table.unit_text(unit) for unit in range(4)] == list(table.texts)


def test_dataset_of_the_hub(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    targets = {"choices": ["Nobody", "Everyone"], "labels": [1, 0]}
    rows = [{"question": "Who, then?", "mc2_targets": targets}]
    saved = datasets.DatasetDict({"validation": datasets.Dataset.from_list(rows)})
    saved.save_to_disk(str(tmp_path / "saved"))
    corpus = load_corpus(TruthfulQAConfig(path=str(tmp_path / "saved")))
    assert corpus.texts == ("Q: Who, then? A: Nobody", "Q: Who, then? A: Everyone")
    feature = corpus.features["truthful"]
    assert [feature.classes[code] for code in feature.codes] == ["true", "false"]
    other = datasets.Dataset.from_list([{"question": "Who?", "answer": "Me"}])
    other.save_to_disk(str(tmp_path / "other"))
    with pytest.raises(UserError, match=r"row 0 is not of TruthfulQA \(KeyError: 'mc2_targets'"):
        load_corpus(TruthfulQAConfig(path=str(tmp_path / "other")))


def test_own_prompt(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(CSV)
    config = TruthfulQAConfig(path=str(tmp_path / "x.csv"), prompt="{question}\n{answer}")
    assert load_corpus(config).texts[-1] == "Why?\nBecause"
    config.prompt = "Q: {question}"
    with pytest.raises(UserError, match=r"corpus\.prompt=.* lacks \{answer\}"):
        load_corpus(config)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("mc_task.json", "[{", r"mc_task\.json, line 1: not JSON"),
        ("mc_task.json", '[{"question": "x"}]', r"is not TruthfulQA's mc_task\.json"),
        ("mc_task.json", "[]", r"corpus 'truthfulqa' is empty"),
        ("TruthfulQA.csv", "Question,Answer\n", r"no column 'Correct Answers'"),
        ("other.txt", "", r"holds no TruthfulQA file"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        load_corpus(TruthfulQAConfig(path=str(tmp_path)))


@pytest.mark.shared
def test_real_file(shared: Path) -> None:
    corpus = load_corpus(TruthfulQAConfig(path=str(shared / "data" / "truthfulqa")))
    raw = json.loads((shared / "data/truthfulqa/data/mc_task.json").read_text())
    assert len(corpus.texts) == sum(len(entry["mc2_targets"]) for entry in raw) == 6_045
    assert len(set(corpus.groups)) == 790
    true = sum(sum(entry["mc2_targets"].values()) for entry in raw)
    assert np.bincount(corpus.features["truthful"].codes).tolist() == [6_045 - true, true]
    split = assign_splits(corpus, SplitConfig())
    sides = [
        {g for g, s in zip(split.groups, split.splits, strict=True) if s == part}
        for part in (TRAIN, TEST)
    ]
    assert not sides[0] & sides[1]
