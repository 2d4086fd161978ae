"""Tables of every format, their mapping to texts and labels, and what goes wrong."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from probes.config import TableConfig
from probes.core.errors import UserError
from probes.corpora import load_corpus
from probes.corpora.corpus import LEVELS, TEST, TRAIN, UNASSIGNED, VALIDATION, Corpus
from probes.corpora.readers.columns import render


def read(tmp_path: Path, name: str, content: str, **config: Any) -> Corpus:
    (tmp_path / name).write_text(content, encoding=config.get("encoding", "utf-8"))
    return load_corpus(TableConfig(path=str(tmp_path / name), **config))


def labels(corpus: Corpus, feature: str) -> list[str | None]:
    found = corpus.features[feature]
    return [None if code < 0 else found.classes[code] for code in found.codes]


def test_csv_with_quotes_newlines_and_unusual_separators(tmp_path: Path) -> None:
    content = 'text,label\n"one, two\nthree",a\n"he said ""hi""",b\nun\u2028broken,a\n'
    corpus = read(tmp_path, "t.csv", content)
    assert corpus.texts == ("one, two\nthree", 'he said "hi"', "un\u2028broken")
    assert labels(corpus, "label") == ["a", "b", "a"]
    assert (corpus.splits == UNASSIGNED).all()
    assert corpus.groups == corpus.texts and corpus.group_name == "text"


def test_tsv_keeps_quotes_as_characters(tmp_path: Path) -> None:
    corpus = read(tmp_path, "t.tsv", 'text\tlabel\n"So\ta\nwell "said"\tb\n')
    assert corpus.texts == ('"So', 'well "said"')


def test_columns_by_number_and_split_column(tmp_path: Path) -> None:
    content = "tr\tx\tone\nva\ty\ttwo\nte\tx\tthree\nother\ty\tfour\n"
    config = dict(header=False, split="0", text="2", labels={"kind": "1"})
    with pytest.raises(UserError, match=r"line 4: 'other' in column '0' names no split"):
        read(tmp_path, "t.tsv", content, **config)
    corpus = read(tmp_path, "t.tsv", content, split_values={"other": "test"}, **config)
    assert corpus.splits.tolist() == [TRAIN, VALIDATION, TEST, TEST]
    assert labels(corpus, "kind") == ["x", "y", "x", "y"]


def test_json_lines(tmp_path: Path) -> None:
    rows = [
        {"q": "Who?", "a": "Me", "ok": True, "n": 3, "who": "x"},
        {"q": "Who?", "a": "You", "ok": False, "n": None, "who": "x"},
    ]
    content = "\n".join(map(json.dumps, rows)) + "\n\n"
    corpus = read(
        tmp_path,
        "t.jsonl",
        content,
        text="Q: {q} A: {a}",
        labels={"truth": "ok", "number": "n"},
        level="answer",
        group="who",
    )
    assert corpus.texts == ("Q: Who? A: Me", "Q: Who? A: You")
    assert labels(corpus, "truth") == ["true", "false"]
    assert labels(corpus, "number") == ["3", None]
    assert corpus.groups == ("x", "x") and corpus.group_name == "who"
    assert corpus.features["truth"].level == "answer"
    assert (corpus.units.level == LEVELS.index("answer")).all()
    assert corpus.units.end.tolist() == [13, 14]


def test_label_text_with_classes_and_cut(tmp_path: Path) -> None:
    corpus = read(
        tmp_path,
        "t.all",
        "NUM:dist How far ?\nHUM:ind Who na\xefve ?\n",
        format="label_text",
        encoding="latin-1",
        labels={"coarse": "label", "fine": "label"},
        cut={"coarse": ":"},
        classes={"NUM": "number"},
    )
    assert corpus.texts == ("How far ?", "Who naïve ?")
    assert labels(corpus, "coarse") == ["number", "HUM"]
    assert labels(corpus, "fine") == ["NUM:dist", "HUM:ind"]


def test_threshold(tmp_path: Path) -> None:
    corpus = read(tmp_path, "t.csv", "text,label\na,0.5\nb,0.49\nc,1\n", threshold=0.5)
    assert labels(corpus, "label") == ["yes", "no", "yes"]
    with pytest.raises(UserError, match=r"line 3: column 'label' holds 'high', not a number"):
        read(tmp_path, "t.csv", "text,label\na,0.5\nb,high\n", threshold=0.5)


def test_pairs(tmp_path: Path) -> None:
    content = '{"g": "A cat.", "b": "Cat a.", "u": "x"}\n{"g": "B.", "b": ".B", "u": "y"}\n'
    corpus = read(
        tmp_path, "t.jsonl", content, pairs={"good": "g", "bad": "b"}, labels={"paradigm": "u"}
    )
    assert corpus.texts == ("A cat.", "Cat a.", "B.", ".B")
    assert labels(corpus, "acceptability") == ["good", "bad", "good", "bad"]
    assert labels(corpus, "paradigm") == ["x", "x", "y", "y"]
    assert corpus.groups[0] == corpus.groups[1] != corpus.groups[2] == corpus.groups[3]
    assert corpus.group_name == "pair"


def test_spans_of_one_text_share_it(tmp_path: Path) -> None:
    content = "text,s,e,label\nMaria saw Oslo,0,5,person\nMaria saw Oslo,10,14,place\nHi,0,2,none\n"
    corpus = read(tmp_path, "t.csv", content, span=["s", "e"])
    assert corpus.texts == ("Maria saw Oslo", "Hi")
    assert [corpus.unit_text(u) for u in range(3)] == ["Maria", "Oslo", "Hi"]
    assert labels(corpus, "label") == ["person", "place", "none"]
    assert corpus.features["label"].level == "span"


@pytest.mark.parametrize(("start", "end"), [("5", "5"), ("-1", "3"), ("0", "99"), ("x", "3")])
def test_bad_spans(tmp_path: Path, start: str, end: str) -> None:
    with pytest.raises(UserError, match=r"line 2: span .* of a text of 5 characters"):
        read(tmp_path, "t.csv", f"text,s,e,label\nMaria,{start},{end},a\n", span=["s", "e"])


def test_feature_per_file_reads_recurring_texts_once(tmp_path: Path) -> None:
    (tmp_path / "length.csv").write_text("text,label\none,short\nthree,long\none,short\n")
    (tmp_path / "tense.csv").write_text("text,label\nthree,past\nfour,present\n")
    corpus = load_corpus(TableConfig(path=str(tmp_path), files=["*.csv"], feature_per_file=True))
    assert corpus.texts == ("one", "three", "one", "four")
    assert labels(corpus, "length") == ["short", "long", "short", None]
    assert labels(corpus, "tense") == [None, "past", None, "present"]
    assert corpus.default_features == ("length", "tense")


def test_rows_without_text_or_label_are_counted(tmp_path: Path) -> None:
    corpus = read(tmp_path, "t.csv", "text,label\na,x\n ,x\nb,\n,\n")
    assert corpus.texts == ("a",)
    assert corpus.notes == ("2 rows without a text left out", "1 rows without a label left out")


def test_one_file_for_each_split(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"x text of {name}\n")
    corpus = load_corpus(TableConfig(path=str(tmp_path), train="a", test="b", format="label_text"))
    assert corpus.splits.tolist() == [TRAIN, TEST]
    alone = TableConfig(train=str(tmp_path / "a"), test=str(tmp_path / "b"), format="label_text")
    assert load_corpus(alone).texts == corpus.texts


GOOD = "text,label\na,x\nb,y\n"


@pytest.mark.parametrize(
    ("name", "content", "config", "message"),
    [
        ("t.csv", GOOD, {"text": "txt"}, r"text=txt: .*line 2 has no column 'txt'.*text=text"),
        ("t.csv", GOOD, {"labels": {"f": "z"}}, r"corpus\.labels\.f=z"),
        ("t.csv", GOOD, {"group": "z"}, r"corpus\.group=z"),
        ("t.csv", GOOD, {"split": "z"}, r"corpus\.split=z"),
        ("t.csv", GOOD, {"text": "{nope}"}, r"corpus\.text=nope"),
        ("t.csv", GOOD, {"level": "word"}, r"corpus\.level=word"),
        ("t.csv", GOOD, {"span": ["a"]}, r"a span has two columns"),
        ("t.csv", GOOD, {"cut": {"zzz": ":"}}, r"corpus\.cut.*zzz"),
        (
            "t.csv",
            GOOD,
            {"format": "xml"},
            r"corpus\.format=xml.*csv, tsv, jsonl, json, label_text",
        ),
        ("t.csv", GOOD, {"delimiter": "ab"}, r"not one character"),
        ("t.csv", GOOD, {"encoding": "klingon"}, r"no such encoding"),
        ("t.csv", "text,label\n", {}, r"corpus 'table' is empty"),
        ("t.csv", "", {}, r"corpus 'table' is empty"),
        ("t.csv", "text,label\n,x\n", {}, r"is empty.*1 rows without a text"),
        ("t.csv", "text,label\na,x\nb,y,z\n", {}, r"line 3: 3 columns where the first row has 2"),
        ("t.csv", 'text,label\n"a"b,x\n', {}, r"line 2: .*quotes=false"),
        ("t.dat", GOOD, {}, r"ending '\.dat' does not tell"),
        ("t.jsonl", '{"text": "a"\n', {}, r"line 1: not JSON"),
        ("t.jsonl", "[1]\n", {}, r"line 1: a JSON list"),
        ("t.jsonl", '{"text": "a", "label": [1]}\n', {}, r"holds a list, not a class"),
        (
            "t.csv",
            "text,a,b\nx,1,2\n",
            {"labels": {"a": "a", "b": "b"}, "feature_per_file": True},
            r"feature_per_file=true: 2 label columns",
        ),
    ],
)
def test_bad_tables(
    tmp_path: Path, name: str, content: str, config: dict[str, Any], message: str
) -> None:
    if config.get("encoding") == "klingon":
        (tmp_path / name).write_text(content)
        with pytest.raises(UserError, match=message):
            load_corpus(TableConfig(path=str(tmp_path / name), **config))
        return
    with pytest.raises(UserError, match=message):
        read(tmp_path, name, content, **config)


def test_bad_paths(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(GOOD)
    for config, message in (
        (TableConfig(), r"corpus\.path is not set"),
        (TableConfig(path=str(tmp_path)), r"is a directory: which.*t\.csv"),
        (TableConfig(path=str(tmp_path / "u.csv")), r"no such file.*Try corpus\.path=.*t\.csv"),
        (TableConfig(path=str(tmp_path), files=["*.tsv"]), r"no file of .* matches"),
        (TableConfig(path=str(tmp_path), files=["../t.csv"]), r"leads out of corpus\.path"),
        (TableConfig(path=str(tmp_path), train="/etc/passwd"), r"leads out of corpus\.path"),
    ):
        with pytest.raises(UserError, match=message):
            load_corpus(config)
    latin = tmp_path / "l.csv"
    latin.write_bytes(b"text,label\nna\xefve,x\n")
    with pytest.raises(UserError, match=r"line 2: byte 0xef is not utf-8.*encoding=latin-1"):
        load_corpus(TableConfig(path=str(latin)))


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.csv").write_text(GOOD)

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UserError, match=r"t\.csv cannot be read: Permission denied"):
        load_corpus(TableConfig(path=str(tmp_path / "t.csv")))


def test_template_interprets_nothing_but_columns() -> None:
    assert (
        render("{a} {{b}} {a.__class__}", {"a": "{b}", "b": 1, "a.__class__": "c"}) == "{b} {1} c"
    )


# --- the real files --------------------------------------------------------------------------


@pytest.mark.shared
def test_senteval(shared: Path) -> None:
    corpus = load_corpus(
        TableConfig(
            name="senteval",
            path=str(shared / "data" / "senteval_like_ewt"),
            files=["*.txt"],
            feature_per_file=True,
            format="tsv",
            header=False,
            split="0",
            labels={"label": "1"},
            text="2",
        )
    )
    lines = {"bigram_shift": 12_641, "tree_depth": 12_662, "word_content": 3_035}
    for feature, count in lines.items():
        assert (corpus.features[feature].codes >= 0).sum() == count
    assert len(corpus.features) == 7
    assert len(corpus.texts) < sum(lines.values())  # sentences shared by tasks are read once


@pytest.mark.shared
def test_sst_and_trec(shared: Path) -> None:
    folder = str(shared / "data" / "sst_trec")
    for kind, sizes in (("binary", [6_920, 872, 1_821]), ("fine", [8_544, 1_101, 2_210])):
        corpus = load_corpus(
            TableConfig(
                path=folder,
                train=f"stsa.{kind}.train",
                validation=f"stsa.{kind}.dev",
                test=f"stsa.{kind}.test",
                format="label_text",
            )
        )
        assert np.bincount(corpus.splits).tolist() == sizes
    trec = load_corpus(
        TableConfig(
            path=folder,
            train="raw/TREC.train",
            test="raw/TREC.test",
            format="label_text",
            encoding="latin-1",
            labels={"answer_type": "label"},
            cut={"answer_type": ":"},
        )
    )
    assert len(trec.texts) == 5_952
    counts = Counter(labels(trec, "answer_type"))
    assert counts["NUM"] == 896 + 113 and len(counts) == 6


@pytest.mark.shared
def test_ethos_and_blimp(shared: Path) -> None:
    ethos = load_corpus(
        TableConfig(
            path=str(shared / "data/ethos/ethos/ethos_data/Ethos_Dataset_Binary.csv"),
            delimiter=";",
            text="comment",
            labels={"hate": "isHate"},
            threshold=0.5,
        )
    )
    assert Counter(labels(ethos, "hate")) == {"no": 565, "yes": 433}  # as its README says
    blimp = load_corpus(
        TableConfig(
            path=str(shared / "data/blimp"),
            files=["*.jsonl"],
            pairs={"good": "sentence_good", "bad": "sentence_bad"},
        )
    )
    assert Counter(labels(blimp, "acceptability")) == {"good": 16_000, "bad": 16_000}
    assert len(set(blimp.groups)) == 16_000
