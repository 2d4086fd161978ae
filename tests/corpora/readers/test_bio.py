"""Token and tag columns."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from probes.config import BioConfig
from probes.core.errors import UserError
from probes.corpora import load_corpus
from probes.corpora.corpus import TEST, TRAIN, VALIDATION
from probes.corpora.readers.bio import entity_type


def test_types_positions_and_blank_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.conll"
    file.write_text(
        "Redondo\tB-location\nBeach\tI-location\nis\tO\n\t\nwow\tO\nEmma\tB-person,I-group\n"
    )
    corpus = load_corpus(BioConfig(train=str(file), outside="none"))
    assert corpus.texts == ("Redondo Beach is", "wow Emma")
    feature = corpus.features["entity_type"]
    labels = [(corpus.unit_text(u), feature.classes[c]) for u, c in enumerate(feature.codes)]
    assert labels == [
        ("Redondo", "location"),
        ("Beach", "location"),
        ("is", "none"),
        ("wow", "none"),
        ("Emma", "person"),
    ]
    assert corpus.notes == ("1 tokens with several tags: the first counts",)
    assert corpus.group_name == "sentence"


def test_columns_and_documents_of_conll_2003(tmp_path: Path) -> None:
    file = tmp_path / "eng.train"
    file.write_text(
        "-DOCSTART- -X- O O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\nPeter NNP B-NP B-PER\n\n"
        "-DOCSTART- -X- O O\n\nBonn NNP B-NP B-LOC\n"
    )
    corpus = load_corpus(BioConfig(train=str(file)))
    assert corpus.texts == ("EU rejects", "Peter", "Bonn")
    assert corpus.group_name == "document"
    assert corpus.groups[0] == corpus.groups[1] != corpus.groups[2]
    assert corpus.features["entity_type"].classes == ("LOC", "O", "ORG", "PER")
    chunks = load_corpus(BioConfig(train=str(file), tag_column=2, feature="chunk"))
    assert chunks.features["chunk"].classes == ("NP", "VP")


@pytest.mark.parametrize(
    ("tag", "kind"),
    [("O", "O"), ("B-creative-work", "creative-work"), ("S-x", "x"), ("plain", "plain")],
)
def test_entity_type(tag: str, kind: str) -> None:
    assert entity_type(tag) == kind


@pytest.mark.parametrize("line", ["only", "token\t", "\tB-x"])
def test_malformed_line(tmp_path: Path, line: str) -> None:
    file = tmp_path / "a.conll"
    file.write_text(f"fine\tO\n\n{line}\n")
    with pytest.raises(UserError, match=r"a\.conll, line 3: no token and tag"):
        load_corpus(BioConfig(train=str(file)))


def test_bad_files(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n\n")
    with pytest.raises(UserError, match="is empty"):
        load_corpus(BioConfig(path=str(tmp_path), train="empty"))
    with pytest.raises(UserError, match=r"corpus\.train=missing|missing: no such file"):
        load_corpus(BioConfig(path=str(tmp_path), train="missing"))
    with pytest.raises(UserError, match=r"leads out of corpus\.path"):
        load_corpus(BioConfig(path=str(tmp_path), train="../empty"))
    with pytest.raises(UserError, match=r"corpus\.train is not set"):
        load_corpus(BioConfig(path=str(tmp_path)))


@pytest.mark.shared
def test_wnut17(shared: Path) -> None:
    config = BioConfig(
        path=str(shared / "data" / "wnut17"),
        train="wnut17train.conll",
        validation="emerging.dev.conll",
        test="emerging.test.annotated",
    )
    corpus = load_corpus(config)
    assert np.bincount(corpus.splits).tolist() == [3_394, 1_009, 1_287]
    feature = corpus.features["entity_type"]
    split = corpus.splits[corpus.units.example]
    for part, expected in (
        (TRAIN, {"person": 995, "location": 793, "O": 59_570}),
        (VALIDATION, {"person": 587, "creative-work": 238, "O": 14_483}),
        (TEST, {"person": 560, "corporation": 88, "O": 21_654}),
    ):
        counts = Counter(feature.classes[code] for code in feature.codes[split == part])
        assert len(counts) == 7
        assert {name: counts[name] for name in expected} == expected
