"""SemEval-2010 task 8: marks become spans, relations become classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from probes.config import SemEvalConfig
from probes.core.errors import UserError
from probes.corpora import load_corpus
from probes.corpora.corpus import TEST, TRAIN, Corpus

TRAIN_FILE = (
    '1\t"The <e1>fire</e1> caused "great" <e2>damage</e2>."\r\n'
    "Cause-Effect(e1,e2)\r\nComment: none\r\n\r\n"
    '2\t"A <e1>box</e1> <e2>car park</e2>"\r\nOther\r\nComment:\r\n\r\n'
)


def corpus_of(tmp_path: Path, content: str, read: str = "second") -> Corpus:
    (tmp_path / "train.txt").write_bytes(content.encode())
    return load_corpus(SemEvalConfig(path=str(tmp_path), train="train.txt", test=None, read=read))


def test_spans_and_relations(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, TRAIN_FILE)
    assert corpus.texts == ('The fire caused "great" damage.', "A box car park")
    assert [corpus.unit_text(unit) for unit in range(2)] == ["damage", "car park"]
    relation, kind = corpus.features["relation"], corpus.features["relation_type"]
    assert [relation.classes[c] for c in relation.codes] == ["Cause-Effect(e1,e2)", "Other"]
    assert [kind.classes[c] for c in kind.codes] == ["Cause-Effect", "Other"]
    assert relation.level == "span"
    pair = corpus_of(tmp_path, TRAIN_FILE, read="pair")
    assert [pair.unit_text(unit) for unit in range(2)] == [
        'fire caused "great" damage',
        "box car park",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"corpus 'semeval2010_task8' is empty"),
        ('1\t"No marks."\nOther\n', r"line 1: not a sentence with <e1> and <e2>"),
        ('1\t"<e2>b</e2> <e1>a</e1>"\nOther\n', r"line 1: not a sentence"),
        ('\n1\t"<e1>a</e1> <e2>b</e2>"\nComment: x\n', r"line 3: 'Comment: x' is no relation"),
        ('1\t"<e1>a</e1> <e2>b</e2>"', r"line 2: '' is no relation"),
    ],
)
def test_bad_files(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        corpus_of(tmp_path, content)


def test_wrong_places(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"corpus\.read=first.*second, pair"):
        corpus_of(tmp_path, TRAIN_FILE, read="first")
    with pytest.raises(UserError, match=r"corpus\.train=.*no such file"):
        load_corpus(SemEvalConfig(path=str(tmp_path)))


@pytest.mark.shared
def test_real_files(shared: Path) -> None:
    """Counts as the task's own description gives them: 8,000 and 2,717 sentences, 19 classes."""
    data = shared / "data" / "semeval2010_task8"
    corpus = load_corpus(SemEvalConfig(path=str(data)))
    assert [(corpus.splits == part).sum() for part in (TRAIN, TEST)] == [8000, 2717]
    assert len(corpus.features["relation"].classes) == 19
    key = (data / "SemEval2010_task8_testing_keys" / "TEST_FILE_KEY.TXT").read_text().split("\n")
    kinds = [line.split("\t")[1].strip() for line in key if line.strip()]
    feature = corpus.features["relation_type"]
    in_test = np.flatnonzero(corpus.splits[corpus.units.example] == TEST)
    found = [feature.classes[feature.codes[unit]] for unit in in_test]
    assert found == [kind.partition("(")[0] for kind in kinds]
