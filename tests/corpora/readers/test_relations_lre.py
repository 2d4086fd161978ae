"""LRE's relations: every template of every subject, objects that are shared, bad files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from probes.config import RelationsConfig
from probes.core.errors import UserError
from probes.corpora import load_corpus
from probes.corpora.corpus import Corpus


def written(folder: Path, name: str, templates: list[str], pairs: list[tuple[str, str]]) -> None:
    samples = [{"subject": subject, "object": answer} for subject, answer in pairs]
    content = {"prompt_templates": templates, "samples": samples}
    (folder / f"{name}.json").write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "factual").mkdir()
    sports = [("Ann", "golf"), ("Bo", "golf"), ("Cy", "polo"), ("Di", "polo"), ("Ed", "chess")]
    written(tmp_path / "factual", "sport", ["{} plays", "The sport of {} is"], sports)
    written(
        tmp_path, "mother", ["{}'s mother is"], [("Ann", "Zoe"), ("Flo", "Yva"), ("Flo", "Yva")]
    )
    return tmp_path


def values(corpus: Corpus, name: str) -> list[str | None]:
    feature = corpus.features[name]
    return [feature.classes[code] if code >= 0 else None for code in feature.codes]


def test_prompts_objects_and_groups(folder: Path) -> None:
    corpus = load_corpus(RelationsConfig(path=str(folder), min_shared=2))
    assert corpus.texts[:2] == ("Ann's mother is", "Flo's mother is")  # repeated pairs once
    assert corpus.texts[2:4] == ("Ann plays", "The sport of Ann is")
    assert len(corpus.texts) == 2 + 2 * 5
    assert corpus.groups[0] == corpus.groups[2] == "Ann"
    assert values(corpus, "relation") == ["mother"] * 2 + ["sport"] * 10
    # The chess player shares the object with nobody; no mother has two children here.
    assert values(corpus, "sport")[2:] == ["golf"] * 4 + ["polo"] * 4 + [None] * 2
    assert "mother" not in corpus.features
    assert corpus.features["sport"].level == "answer"
    assert corpus.default_features == ("relation", "sport")


def test_read_at_the_subject(folder: Path) -> None:
    corpus = load_corpus(RelationsConfig(path=str(folder), read="subject", min_shared=2))
    assert corpus.features["sport"].level == "span"
    assert [corpus.unit_text(unit) for unit in range(len(corpus.units))] == list(corpus.groups)


def test_choice_of_relations(folder: Path) -> None:
    one = load_corpus(RelationsConfig(path=str(folder), relations=["sport"], max_subjects=2))
    assert len(one.texts) == 4
    file = load_corpus(RelationsConfig(path=str(folder / "mother.json")))
    assert set(values(file, "relation")) == {"mother"}
    with pytest.raises(UserError, match=r"relations=\[sprot\].*mother, sport.*\[sport\]"):
        load_corpus(RelationsConfig(path=str(folder), relations=["sprot"]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1", r"r\.json, line 1: not JSON"),
        ("[]", r"r\.json is not a relation of LRE"),
        ('{"prompt_templates": ["{} is"], "samples": [{"subject": "x"}]}', r"KeyError: 'object'"),
        ('{"prompt_templates": ["it is"], "samples": []}', r"the template 'it is'.*one \{\}"),
        ('{"prompt_templates": [], "samples": []}', r"no template"),
        ('{"prompt_templates": ["{} is"], "samples": []}', r"corpus 'relations_lre' is empty"),
    ],
)
def test_bad_files(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(UserError, match=message):
        load_corpus(RelationsConfig(path=str(tmp_path)))


def test_empty_copy_and_wrong_place(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="holds no relations"):
        load_corpus(RelationsConfig(path=str(tmp_path / "none")))
    with pytest.raises(UserError, match=r"corpus\.read=begin.*end, subject"):
        load_corpus(RelationsConfig(path=str(folder), read="begin"))


@pytest.mark.shared
def test_real_files(shared: Path) -> None:
    data = shared / "data" / "relations_lre"
    corpus = load_corpus(RelationsConfig(path=str(data)))
    raw = {file.stem: json.loads(file.read_text()) for file in data.rglob("*.json")}
    assert set(corpus.features["relation"].classes) == set(raw) and len(raw) == 47
    lre = raw["person_plays_pro_sport"]
    code = corpus.features["relation"].classes.index("person_plays_pro_sport")
    units = np.flatnonzero(corpus.features["relation"].codes == code)
    answers = {sample["subject"]: sample["object"] for sample in lre["samples"]}
    found = values(corpus, "person_plays_pro_sport")
    assert len(units) == len(answers) * len(lre["prompt_templates"])
    for unit in units:
        assert found[unit] in (answers[corpus.groups[corpus.units.example[unit]]], None)
