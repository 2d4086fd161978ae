"""Presets of benchmarks that are on the Hub: tiny copies of the same format, and bad copies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from probes.config import AgendaConfig, BenchmarkConfig, DatasetsConfig
from probes.core.errors import UserError
from probes.corpora import load_corpus
from probes.corpora.corpus import TEST, TRAIN, Corpus
from tests.corpora.test_corpus_configs import composed

TSV = 'sentence\tlabel\na "fine film\t1\ndull\t0\n'
NEWS = [{"text": "Stocks fell.", "label": 2}, {"text": "They won.", "label": 1}]
TRIVIA = {"question": "Who?", "question_id": "q1", "answer": {"value": "Me", "type": "FreeForm"}}
MQUAKE = {
    "case_id": 1,
    "requested_rewrite": [{"relation_id": "P30", "subject": "Norway"}],
    "questions": ["Where is the land of Ibsen?", "Ibsen's land is where?"],
    "answer": "Europe",
}
LOGIQA = {"context": "All fish swim.", "query": "So?", "options": ["a", "b"], "correct_option": 1}
PAPER = {
    "title": "Parsing",
    "entities": ["parsing", "statistical parsing", "treebank"],
    "types": "<task> <method> <material>",
    "relations": ["statistical parsing -- USED-FOR -- parsing"],
    "abstract": "We use <method_1> for <task_0> on a <material_2> .",
    "abstract_og": "Statistical parsing is parsing with a treebank .",
}


def values(corpus: Corpus, name: str) -> list[str]:
    feature = corpus.features[name]
    return [feature.classes[code] for code in feature.codes if code >= 0]


def written(folder: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name).write_text(text)
    return folder


def preset(folder: Path, name: str, *overrides: str) -> Corpus:
    return load_corpus(composed(folder, f"corpus={name}", *overrides))


def copied(folder: Path, name: str, files: dict[str, Any]) -> Corpus:
    """A preset read from a directory with these files."""
    (folder / "copy").mkdir()
    return preset(folder, name, f"corpus.path={written(folder / 'copy', files)}")


def test_sst2(tmp_path: Path) -> None:
    corpus = copied(tmp_path, "sst2", {"train.tsv": TSV, "dev.tsv": TSV.replace("dull", "slow")})
    assert corpus.texts == ('a "fine film', "dull", 'a "fine film', "slow")
    assert values(corpus, "sentiment") == ["positive", "negative"] * 2
    assert corpus.splits.tolist() == [TRAIN, TRAIN, TEST, TEST]


def test_ag_news(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps(row) for row in NEWS)
    corpus = copied(tmp_path, "ag_news", {"train-00000.jsonl": lines, "test.jsonl": lines})
    assert values(corpus, "topic") == ["Business", "Sports"] * 2


def test_trivia_qa(tmp_path: Path) -> None:
    files = {"train.json": [TRIVIA], "validation.json": [TRIVIA | {"question": "Why?"}]}
    corpus = copied(tmp_path, "trivia_qa", files)
    assert corpus.texts == ("Q: Who? A:", "Q: Why? A:")
    assert corpus.groups == ("Who?", "Why?")
    assert values(corpus, "answer_type") == ["FreeForm"] * 2
    assert corpus.features["answer_type"].level == "answer"


def test_mquake(tmp_path: Path) -> None:
    """The published file is read as it is; other wordings of the question by number."""
    path = written(tmp_path, {"MQuAKE-CF-3k.json": [MQUAKE]}) / "MQuAKE-CF-3k.json"
    corpus = preset(tmp_path, "mquake", f"corpus.path={path}")
    assert corpus.texts == ("Q: Where is the land of Ibsen? A:",)
    assert (values(corpus, "relation"), values(corpus, "answer")) == (["P30"], ["Europe"])
    assert corpus.groups == ("Norway",)
    config: Any = composed(tmp_path, "corpus=mquake", f"corpus.path={path}")
    config.text = "Q: {questions.1} A:"
    assert load_corpus(config).texts == ("Q: Ibsen's land is where? A:",)
    config.text = "Q: {questions.2} A:"
    with pytest.raises(UserError, match=r"has no column 'questions\.2'"):
        load_corpus(config)


def test_logiqa(tmp_path: Path) -> None:
    line = json.dumps(LOGIQA)
    files = {f"{part}.jsonl": line for part in ("train", "validation", "test")}
    corpus = copied(tmp_path, "logiqa", files)
    assert corpus.texts[0] == "All fish swim.\nSo?\nA. a\nB. b\nAnswer:"
    assert values(corpus, "answer") == ["B"] * 3
    assert values(corpus, "correct") == ["no", "yes"] * 3


def test_agenda(tmp_path: Path) -> None:
    """The longer of two entities that share words is the one that is read there."""
    other = PAPER | {"title": "Other"}
    files = {"unprocessed.train.json": [PAPER], "unprocessed.test.json": [other]}
    corpus = copied(tmp_path, "agenda", files)
    spans = [corpus.unit_text(unit) for unit in range(3)]
    assert spans == ["Statistical parsing", "parsing", "treebank"]
    assert values(corpus, "entity_type") == ["method", "task", "material"] * 2
    assert values(corpus, "relation") == ["USED-FOR"] * 2
    assert corpus.groups == ("Parsing", "Other")
    assert corpus.splits.tolist() == [TRAIN, TEST]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"types": "<task>"}, r"line 1: 1 types for the entities"),
        ({"entities": "parsing"}, r"3 types for the entities parsing"),
        ({"abstract_og": "x" * 2000}, r"is empty.*1 abstracts longer than 1500"),
    ],
)
def test_bad_agenda(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = written(tmp_path, {"a.json": [PAPER | change]}) / "a.json"
    with pytest.raises(UserError, match=message):
        load_corpus(AgendaConfig(path=str(path)))


def test_names_of_parts(tmp_path: Path) -> None:
    """Files are told apart by the usual names of their parts, before, behind or above them."""
    row = json.dumps({"text": "a", "label": "x"})
    for name in ("dev.jsonl", "train-00000-of-00001.jsonl", "data_test.jsonl"):
        (tmp_path / name).write_text(row)
    (tmp_path / "valid").mkdir()
    (tmp_path / "valid" / "more.jsonl").write_text(row)
    corpus = load_corpus(BenchmarkConfig(path=str(tmp_path)))
    assert corpus.splits.tolist() == [0, 2, 1, 1]


@pytest.mark.parametrize("name", ["sst2", "ag_news", "trivia_qa", "mquake", "logiqa", "agenda"])
def test_empty_copies_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "copy").mkdir()
    config: Any = composed(tmp_path, f"corpus={name}", f"corpus.path={tmp_path / 'copy'}")
    with pytest.raises(UserError, match=r"corpus\.path=.*copy is empty; allowed: .*\.jsonl"):
        load_corpus(config)
    (tmp_path / "copy" / "train.jsonl").write_text("\n")
    config.splits = {"train": "train"}
    with pytest.raises(UserError, match=f"corpus '{name}' is empty"):
        load_corpus(config)
    (tmp_path / "copy" / "train.jsonl").write_text('{"unrelated": 1}\n')
    with pytest.raises(UserError, match=r"train\.jsonl, line 1 has no column .*unrelated"):
        load_corpus(config)


def test_dataset_written_by_the_library(tmp_path: Path) -> None:
    """The same columns and names of classes as on the Hub, through the library itself."""
    datasets = pytest.importorskip("datasets")
    names = datasets.ClassLabel(names=["World", "Sports", "Business", "Sci/Tech"])
    features = datasets.Features({"text": datasets.Value("string"), "label": names})
    part = datasets.Dataset.from_list(NEWS, features=features)
    datasets.DatasetDict({"train": part, "test": part}).save_to_disk(str(tmp_path / "saved"))
    path = str(tmp_path / "saved")
    corpus = preset(tmp_path, "ag_news", f"corpus.path={path}")
    assert values(corpus, "topic") == ["Business", "Sports"] * 2
    by_name = load_corpus(DatasetsConfig(path=path, labels={"topic": "label"}))
    assert by_name.fingerprint == corpus.fingerprint
    with pytest.raises(UserError, match=r"has no such split; allowed: train, test"):
        preset(tmp_path, "ag_news", f"corpus.path={path}", "corpus.splits.train=all")
