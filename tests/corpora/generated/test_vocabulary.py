"""Invented and common words: the latter are single tokens to real tokenizers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from probes.config import GeneratedConfig, ModelConfig
from probes.core.errors import UserError
from probes.corpora.corpus import LEVELS, Corpus
from probes.corpora.generated import generate, load
from probes.corpora.generated.data.common_words import COMMON_WORDS
from probes.corpora.generated.data.vocabulary import VOCABULARIES, common_words, most_words
from probes.corpora.generated.key_value import VALUES
from probes.corpora.generated.kit.writing import invented_words
from probes.models.loading import open_model
from probes.models.packaged import PACKAGED, packaged_file

TASKS = {"induction": "symbols", "markov": "states", "key_value": "keys"}
"""Task with a vocabulary -> its option of how many words there are."""
MODELS = ["minilm", "smollm2", pytest.param("gemma3_270m", marks=pytest.mark.long)]


@pytest.fixture(scope="module", params=MODELS)
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The tokenizer of a real model; skips where its package is not installed."""
    cache = tmp_path_factory.mktemp("cache")
    if request.param in PACKAGED and packaged_file(request.param, cache) is None:
        pytest.skip(f"the package of {request.param} is not installed")
    try:
        return open_model(ModelConfig(name=request.param), cache_dir=cache).tokenizer
    except UserError as error:
        pytest.skip(f"{request.param}: {error}")


def pieces(tokenizer: Any, text: str) -> int:
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


@pytest.mark.slow
def test_common_words_are_single_tokens(tokenizer: Any) -> None:
    """At the beginning of a text, and after a space."""
    before = pieces(tokenizer, "the")
    split = [
        word
        for word in COMMON_WORDS
        if pieces(tokenizer, word) != 1 or pieces(tokenizer, f"the {word}") != before + 1
    ]
    assert split == []
    assert any(pieces(tokenizer, word) > 1 for word in invented_words(20))


def test_common_words_are_different_plain_words() -> None:
    assert len(set(COMMON_WORDS)) == len(COMMON_WORDS) == most_words("common")
    assert all(re.fullmatch("[a-z]{3,9}", word) for word in COMMON_WORDS)
    plurals = {f"{word}s" for word in COMMON_WORDS}
    assert not plurals & set(COMMON_WORDS)
    assert not set(VALUES) & set(COMMON_WORDS)
    assert common_words(40) == common_words(300)[:40]
    assert sorted(common_words(len(COMMON_WORDS))) == sorted(COMMON_WORDS)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_texts_are_made_of_their_vocabulary(task: str, vocabulary: str) -> None:
    corpus = load(GeneratedConfig(name=task, examples=20, options={"vocabulary": vocabulary}))
    words, _ = VOCABULARIES[vocabulary]
    known = {*words(1000), *VALUES}
    assert {word for text in corpus.texts for word in text.split()} <= known


@pytest.mark.parametrize("task", TASKS)
def test_only_the_words_differ(task: str) -> None:
    """The same seed gives the same structure with other words in their places."""

    def texts_of(vocabulary: str) -> Corpus:
        return load(GeneratedConfig(name=task, examples=30, options={"vocabulary": vocabulary}))

    invented, common = texts_of("invented"), texts_of("common")
    number: dict[str, str] = {}
    for one, other in zip(invented.texts, common.texts, strict=True):
        for left, right in zip(one.split(), other.split(), strict=True):
            assert number.setdefault(left, right) == right
    assert len(set(number.values())) == len(number)
    assert [LEVELS[level] for level in invented.units.level] == [
        LEVELS[level] for level in common.units.level
    ]


@pytest.mark.parametrize("task", TASKS)
def test_a_vocabulary_that_does_not_exist_or_is_too_small(task: str) -> None:
    with pytest.raises(
        UserError, match=r"vocabulary=comon; allowed: invented, common. Try .*=common"
    ):
        generate(GeneratedConfig(name=task, options={"vocabulary": "comon"}))
    most = len(COMMON_WORDS)
    options = {"vocabulary": "common", TASKS[task]: most + 1}
    with pytest.raises(UserError, match=f"{TASKS[task]}={most + 1}.*Try .*={most}"):
        generate(GeneratedConfig(name=task, options=options))
    enough = {"length": 2 * most + 2} if task == "markov" else {}
    generate(GeneratedConfig(name=task, options=options | enough | {"vocabulary": "invented"}))


def test_the_file_names_the_size_of_both(project: Path) -> None:
    text = (project / "conf" / "corpus" / "induction.yaml").read_text()
    for vocabulary in VOCABULARIES:
        assert f"{most_words(vocabulary):,} ({vocabulary})" in text
