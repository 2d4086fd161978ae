"""Rows without a value, and classes and groups that are one number in several spellings."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from probes.config import SplitConfig, TableConfig
from probes.core.errors import UserError
from probes.corpora import load_corpus
from probes.corpora.corpus import TEST, Corpus
from probes.corpora.splits import assign_splits


def read(tmp_path: Path, rows: list[dict[str, Any]], **config: Any) -> Corpus:
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return load_corpus(TableConfig(path=str(file), **config))


def classes(corpus: Corpus, feature: str = "label") -> Counter[str]:
    values = corpus.features[feature]
    return Counter(values.classes[code] for code in values.codes if code >= 0)


def rows_of(*labels: object) -> list[dict[str, Any]]:
    return [{"text": f"text {number}", "label": label} for number, label in enumerate(labels)]


@pytest.mark.parametrize("missing", [float("nan"), None, "", " \u200b", "nan", "<NA>"])
def test_a_missing_label_is_no_class(tmp_path: Path, missing: object) -> None:
    corpus = read(tmp_path, rows_of(missing, 1.0, 0.0, 1.0))
    assert classes(corpus) == {"1.0": 2, "0.0": 1}
    assert corpus.notes == ("1 rows without a label left out",)


def test_a_missing_label_is_below_no_threshold(tmp_path: Path) -> None:
    corpus = read(tmp_path, rows_of(float("nan"), 0.7, 0.2), threshold=0.5)
    assert classes(corpus) == {"yes": 1, "no": 1}
    with pytest.raises(UserError, match=r"threshold=nan: not a number"):
        read(tmp_path, rows_of(0.7), threshold=float("nan"))


@pytest.mark.parametrize("missing", [float("nan"), None, "", " "])
def test_rows_without_a_group_are_each_one_of_their_own(tmp_path: Path, missing: object) -> None:
    rows = [{**row, "author": missing} for row in rows_of("a", "b", "a", "b")]
    rows[0]["author"] = rows[1]["author"] = 0
    corpus = read(tmp_path, rows, group="author")
    assert corpus.groups == ("0", "0", "text 2", "text 3")
    assert corpus.notes == ("2 rows without a 'author': each is a group of its own",)


def test_shipped_splits_keep_rows_without_a_group(tmp_path: Path) -> None:
    rows = [
        {**row, "author": "", "split": ("train", "dev", "test")[number % 3]}
        for number, row in enumerate(rows_of(*"ababababab"))
    ]
    corpus = assign_splits(read(tmp_path, rows, group="author", split="split"), SplitConfig())
    assert (corpus.splits == TEST).sum() == 3 and (corpus.splits >= 0).all()


def test_pairs_without_a_group_are_told_apart(tmp_path: Path) -> None:
    rows = [{"a": f"good {i}", "b": f"bad {i}", "g": None} for i in range(3)]
    corpus = read(tmp_path, rows, pairs={"yes": "a", "no": "b"}, group="g")
    assert len(set(corpus.groups)) == 3 and corpus.groups[0] == corpus.groups[1]


@pytest.mark.parametrize("text", [None, float("nan"), "", "\u200b\u200d", "nan"])
def test_rows_that_are_empty_to_people_are_left_out(tmp_path: Path, text: object) -> None:
    corpus = read(tmp_path, [*rows_of("a", "b"), {"text": text, "label": "a"}])
    assert corpus.texts == ("text 0", "text 1")
    assert corpus.notes == ("1 rows without a text left out",)


def test_one_number_is_one_class(tmp_path: Path) -> None:
    corpus = read(tmp_path, rows_of(1.0, 1, 0.0, 1, "01", 0))
    assert classes(corpus) == {"1": 4, "0": 2}
    assert corpus.notes == ("label: 3 other spellings of a class joined with it (1.0 with 1)",)
    assert classes(read(tmp_path, rows_of(1.0, 0.0))) == {"1.0": 1, "0.0": 1}
    assert classes(read(tmp_path, rows_of("01", "02"))) == {"01": 1, "02": 1}
    assert classes(read(tmp_path, rows_of(1, 1.0, "one"))) == {"1": 1, "1.0": 1, "one": 1}


def test_one_number_is_one_class_in_all_files(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label,who\na,1,1\nb,0,2\n")
    (tmp_path / "test.csv").write_text("text,label,who\nc,1.0,1.0\nd,0.0,3.0\n")
    corpus = load_corpus(
        TableConfig(path=str(tmp_path), train="train.csv", test="test.csv", group="who")
    )
    assert classes(corpus) == {"1": 2, "0": 2}
    assert corpus.groups == ("1", "2", "1", "3")


def test_classes_are_named_in_any_spelling(tmp_path: Path) -> None:
    names: dict[str, Any] = {"0": "negative", "1": "positive"}
    corpus = read(tmp_path, rows_of(1.0, 0.0, "1", 2), classes=names)
    assert classes(corpus) == {"positive": 2, "negative": 1, "2": 1}


def test_yes_and_no_of_yaml_stay_words(tmp_path: Path) -> None:
    names: dict[str, Any] = {"0": False, "1": True}  # what YAML makes of {'0': no, '1': yes}
    assert classes(read(tmp_path, rows_of(1, 0), classes=names)) == {"yes": 1, "no": 1}


def test_many_numbers_are_no_classes_without_a_word(tmp_path: Path) -> None:
    scores = [round(n * 0.05, 3) for n in range(100)]
    corpus = read(tmp_path, rows_of(*scores))
    message = "label: 100 different numbers are taken as classes, because regression is not offered"
    assert corpus.notes == (f"{message}. Try corpus.threshold=2.5",)
    advised = read(tmp_path, rows_of(*scores), threshold=2.5)
    assert classes(advised) == {"yes": 50, "no": 50} and not advised.notes
    rows = [{**row, "kind": "ab"[n % 2]} for n, row in enumerate(rows_of(*scores))]
    both = read(tmp_path, rows, labels={"score": "label", "kind": "kind"})
    assert both.notes == (message.replace("label", "score"),)  # a threshold would not fit 'kind'


@pytest.mark.parametrize("cell", ["['a', 'b']", "[1, 0]", "{'a': 1}"])
def test_a_list_written_in_a_cell_is_no_class(tmp_path: Path, cell: str) -> None:
    with pytest.raises(UserError, match=r"line 2: column 'label' holds a (list|dict), not a class"):
        read(tmp_path, rows_of("a", cell))
    assert classes(read(tmp_path, rows_of("[CLS]", "(a)"))) == {"[CLS]": 1, "(a)": 1}


def test_the_advice_for_lists_works(tmp_path: Path) -> None:
    rows = rows_of(["a", "b"], ["c"])
    with pytest.raises(UserError, match=r"holds a list.*Try \+\+corpus\.labels\.label=label\.0"):
        read(tmp_path, rows)
    assert classes(read(tmp_path, rows, labels={"label": "label.0"})) == {"a": 1, "c": 1}
    with pytest.raises(UserError, match=r"holds a list, not a text"):
        read(tmp_path, [{"text": ["a"], "label": "x"}])


def test_no_column_is_advised_that_is_not_similar(tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        read(tmp_path, [{"comment": "a", "z": "b"}])
    assert "Try" not in str(raised.value) and "allowed: comment, z" in str(raised.value)
    with pytest.raises(UserError, match=r"Try \+\+corpus\.labels\.label=labels$"):
        read(tmp_path, [{"text": "a", "labels": "b"}])
    with pytest.raises(UserError, match=r"Try 'corpus\.text=.my text.'$"):
        read(tmp_path, [{"my text": "a", "label": "b"}], text="mytext")


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_missing_value_leaves_its_place_in_a_template_empty(
    tmp_path: Path, missing: object
) -> None:
    rows = [{"q": "Who?", "a": missing, "label": "x"}, {"q": missing, "a": missing, "label": "x"}]
    corpus = read(tmp_path, rows, text="{q} {a}")
    assert corpus.texts == ("Who? ",)
    assert corpus.notes == ("1 rows without a text left out",)


@pytest.mark.parametrize("missing", [None, float("nan"), "", " "])
def test_a_missing_answer_is_no_answer(tmp_path: Path, missing: object) -> None:
    rows: list[dict[str, Any]] = [
        {"text": "The sky is", "label": "a", "next": "blue", "wrong": ["red", missing]},
        {"text": "The sea is", "label": "b", "next": missing, "wrong": missing},
    ]
    corpus = read(tmp_path, rows, labels={"f": "label"}, answer="next", alternatives="wrong")
    assert [(answer.text, answer.alternatives) for answer in corpus.answers] == [
        (" blue", (" red",))
    ]
