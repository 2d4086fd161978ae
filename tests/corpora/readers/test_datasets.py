"""Hugging Face datasets from local folders: no network."""

from __future__ import annotations

from pathlib import Path

import pytest

from probes.config import DatasetsConfig
from probes.core.errors import UserError
from probes.corpora import load_corpus
from probes.corpora.corpus import TEST, TRAIN

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path_factory.mktemp("hf")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


@pytest.fixture
def saved(tmp_path: Path) -> str:
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["bad", "good"]),
            "words": datasets.Sequence(datasets.Value("string")),
            "tags": datasets.Sequence(datasets.ClassLabel(names=["O", "B-PER", "I-PER"])),
        }
    )
    row = {"text": "fine", "label": 1, "words": ["Maria", "Novak", "left"], "tags": [1, 2, 0]}
    rows = [row, {**row, "text": "awful", "label": 0}, {**row, "text": "unknown", "label": -1}]
    parts = {
        "train": datasets.Dataset.from_list(rows, features=features),
        "test": datasets.Dataset.from_list([row | {"text": "other"}], features=features),
    }
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    return str(tmp_path / "saved")


def test_saved_dataset_with_class_names(saved: str) -> None:
    corpus = load_corpus(DatasetsConfig(path=saved))
    assert corpus.texts == ("fine", "awful", "other")
    feature = corpus.features["label"]
    assert [feature.classes[code] for code in feature.codes] == ["good", "bad", "good"]
    assert corpus.splits.tolist() == [TRAIN, TRAIN, TEST]
    assert corpus.notes == ("1 rows without a label left out",)


def test_words_with_their_own_labels(saved: str) -> None:
    config = DatasetsConfig(
        path=saved, tokens="words", labels={"entity": "tags"}, bio=True, max_examples=1
    )
    corpus = load_corpus(config)
    assert corpus.texts == ("Maria Novak left",) * 2
    feature = corpus.features["entity"]
    units = [(corpus.unit_text(u), feature.classes[c]) for u, c in enumerate(feature.codes)]
    assert units[:3] == [("Maria", "PER"), ("Novak", "PER"), ("left", "O")]
    config.bio = False
    assert load_corpus(config).features["entity"].classes == ("B-PER", "I-PER", "O")


def test_directory_of_files(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("question,answer,label\nWho?,Me,yes\nWhy?,So,no\n")
    corpus = load_corpus(
        DatasetsConfig(
            path=str(tmp_path), text="Q: {question} A: {answer}", group="question", level="answer"
        )
    )
    assert corpus.texts == ("Q: Who? A: Me", "Q: Why? A: So")
    assert corpus.groups == ("Who?", "Why?")


def test_mistakes(saved: str, tmp_path: Path) -> None:
    for config, message in (
        (DatasetsConfig(), r"corpus\.path is not set"),
        (DatasetsConfig(path="no-such-user/no-such-dataset"), r"corpus\.path=no-such-user"),
        (DatasetsConfig(path=str(tmp_path / "empty")), r"corpus\.path=.*empty"),
        (DatasetsConfig(path=saved, splits={"train": "trian"}), r"allowed: train, test"),
        (DatasetsConfig(path=saved, splits={"tain": "train"}), r"no such split"),
        (DatasetsConfig(path=saved, text="txt"), r"corpus\.text=txt.*row 0 has no column"),
        (DatasetsConfig(path=saved, tokens="text"), r"corpus\.tokens"),
        (DatasetsConfig(path=saved, tokens="words"), r"corpus\.labels\.label"),
    ):
        with pytest.raises(UserError, match=message):
            load_corpus(config)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(UserError, match=r"pip install 'headprobes\[datasets\]'"):
        load_corpus(DatasetsConfig(path="x"))
