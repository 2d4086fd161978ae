"""Indirect objects: which name is asked for, which is suppressed, templates as groups."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from probes.config import IOIConfig
from probes.core.errors import UserError
from probes.corpora import load_corpus
from probes.corpora.corpus import Corpus

PROMPTS = [
    {"prompt": "After Ann and Bo went to the zoo, Bo gave a fig to", "answer": "Ann"},
    {"prompt": "After Cy and Ann went to the bar, Cy gave a pear to", "answer": "Ann"},
    {"prompt": "The park Cy and Di went to had a pear. Di gave it to", "answer": "Cy"},
]


def written(tmp_path: Path, content: object) -> IOIConfig:
    (tmp_path / "ioi.json").write_text(json.dumps(content))
    return IOIConfig(path=str(tmp_path))


def values(corpus: Corpus, name: str) -> list[str]:
    feature = corpus.features[name]
    return [feature.classes[code] for code in feature.codes]


def test_features_and_templates(tmp_path: Path) -> None:
    corpus = load_corpus(written(tmp_path, PROMPTS))
    assert values(corpus, "name") == ["Ann", "Ann", "Cy"]
    assert values(corpus, "suppressed") == ["Bo", "Cy", "Di"]
    assert values(corpus, "answer_first") == ["yes", "no", "yes"]
    assert corpus.groups[0] == corpus.groups[1] != corpus.groups[2]
    assert load_corpus(IOIConfig(path=str(tmp_path / "ioi.json"))).texts == corpus.texts


def test_groups_of_names(tmp_path: Path) -> None:
    config = written(tmp_path, PROMPTS)
    config.group = "names"
    assert load_corpus(config).groups == ("Ann Bo", "Ann Cy", "Cy Di")
    config.group = "name"
    with pytest.raises(UserError, match=r"corpus\.group=name; .*template, names"):
        load_corpus(config)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "not a list of prompts"),
        ([], "corpus 'ioi_841' is empty"),
        ([*PROMPTS, {"prompt": "x"}], "entry 4: not a prompt"),
        ([{"prompt": "Ann and Bo met", "answer": "Cy"}], "does not name 'Cy' beside another name"),
    ],
)
def test_bad_files(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_corpus(written(tmp_path, content))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ioi\.json: no such file"):
        load_corpus(IOIConfig(path=str(tmp_path)))


@pytest.mark.shared
def test_real_file(shared: Path) -> None:
    """The suppressed name comes twice in every prompt and the answer once, by counting words."""
    corpus = load_corpus(IOIConfig(path=str(shared / "data" / "known_1000_ioi")))
    assert len(corpus.texts) == 841 and len(set(corpus.groups)) == 13
    rows = zip(corpus.texts, values(corpus, "name"), values(corpus, "suppressed"), strict=True)
    for text, name, suppressed in rows:
        words = text.replace(",", " ").replace(".", " ").split()
        assert (words.count(name), words.count(suppressed)) == (1, 2)
