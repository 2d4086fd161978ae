"""Units of texts in a chat template: the tokens of their characters, and END where it asks."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from probes.activations.key import cache_key
from probes.config import ExtractionConfig, ModelConfig, PositionConfig, TruthfulQAConfig
from probes.core.errors import UserError
from probes.corpora import load_corpus
from probes.corpora.answers import Answer
from probes.corpora.corpus import LEVELS, Corpus
from probes.models.handle import Handle
from probes.models.loading import open_model
from probes.passes.alignment import Alignment, align
from tests.models.test_chat import TEMPLATES, templated
from tests.small_corpora import corpus_of_texts, corpus_of_words, mixed_corpus, random_texts
from tests.tiny_checkpoints import write_checkpoint


@pytest.fixture(scope="module", params=["chatml", "headers", "inst"])
def chat(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Handle:
    directory = tmp_path_factory.mktemp(request.param)
    write_checkpoint(directory, tokenizer=templated(TEMPLATES[request.param]))
    handle = open_model(ModelConfig(name=str(directory), chat="user"))
    return dataclasses.replace(handle, context=200)  # more than the tiny model has; it is not run


SHARED = {"'", "t"}
"""Two words of "isn't", of which the tokenizer makes one token."""


def sequence(got: Alignment, number: int) -> list[int]:
    return [int(t) for t in got.ids[got.offsets[number] : got.offsets[number + 1]]]


def read(handle: Handle, got: Alignment, row: int) -> str:
    """The text of the tokens that a row is read from."""
    ids = sequence(got, got.sequence[row])[got.first[row] : got.last[row] + 1]
    text: str = handle.tokenizer.decode(ids)
    return text


def test_words_are_read_at_their_own_tokens(chat: Handle) -> None:
    corpus = mixed_corpus(random_texts(30))
    assert set(corpus.replies) == {-1}
    got = align(corpus, chat, PositionConfig(word="mean", text="mean"))
    assert got.counts["dropped_units"] == 0
    encodings = chat.encode(corpus.texts)
    assert [sequence(got, n) for n in range(30)] == [e.ids for e in encodings]
    for row, unit in enumerate(got.unit.tolist()):
        written = corpus.unit_text(unit)
        if written not in SHARED:
            assert read(chat, got, row).strip() == written


def test_prompts_are_read_where_the_reply_begins(chat: Handle) -> None:
    texts = random_texts(20)
    corpus = corpus_of_texts(texts, "answer")
    got = align(corpus, chat)
    for row in range(20):
        ids = chat.tokenizer.apply_chat_template(
            [{"role": "user", "content": texts[row]}], add_generation_prompt=True, return_dict=False
        )
        assert sequence(got, got.sequence[row]) == ids
        assert got.first[row] == got.last[row] == len(ids) - 1
    mean = align(corpus, chat, PositionConfig(text="mean"))
    assert [read(chat, mean, row).strip() for row in range(20)] == texts


def test_sentences_are_read_at_their_last_word(chat: Handle) -> None:
    texts = ["the old sailor", "a storm"]
    got = align(corpus_of_texts(texts, "sentence"), chat)
    assert [texts[row].endswith(read(chat, got, row).strip()) for row in range(2)] == [True, True]
    assert all(got.last[row] < len(sequence(got, row)) - 1 for row in range(2))
    answered = dataclasses.replace(
        corpus_of_texts(texts, "sentence"), answers=(Answer(1, len(texts[1]), " came"),)
    )
    assert answered.replies == (-1, len(texts[1]))
    got = align(answered, chat)
    assert got.last[1] == len(sequence(got, 1)) - 1 and got.last[0] < len(sequence(got, 0)) - 1


def test_answers_are_replies_whether_they_are_right_or_wrong(chat: Handle, tmp_path: Path) -> None:
    """Nothing but the words tells a true answer from a false one."""
    (tmp_path / "TruthfulQA.csv").write_text(
        "Question,Correct Answers,Incorrect Answers\n"
        "Who?,Nobody; a sailor,a storm; one dog\nWhere?,in the village,on the table\n"
    )
    corpus = load_corpus(TruthfulQAConfig(path=str(tmp_path)))
    got = align(corpus, chat)
    assert chat.chat is not None
    for row in range(len(got)):
        question, _, answer = corpus.texts[row].partition(" A: ")
        before = chat.chat.before + f"{question} A:" + chat.chat.prompt + chat.chat.space
        assert sequence(got, row) == chat.tokenizer.encode(
            before + answer, add_special_tokens=False
        )
        assert got.last[row] == len(sequence(got, row)) - 1
        assert answer.endswith(read(chat, got, row).strip())


def test_long_texts_have_the_template_around_every_window(chat: Handle) -> None:
    corpus = corpus_of_words(random_texts(6, seed=2, longest=60))
    whole = chat.encode(corpus.texts)
    around = [sum(e.special) for e in whole]
    short = dataclasses.replace(chat, context=max(around) + 14)
    got = align(corpus, short, PositionConfig(word="mean"))
    assert got.counts["split_texts"] > 2 and got.counts["dropped_units"] == 0
    assert chat.chat is not None
    for number in range(len(got.example)):
        ids = sequence(got, number)
        assert len(ids) <= short.context
        first = whole[got.example[number]].special.index(False)
        assert ids[:first] == whole[got.example[number]].ids[:first]
        last = whole[got.example[number]].special[::-1].index(False)
        assert ids[-last:] == whole[got.example[number]].ids[-last:]
    for row, unit in enumerate(got.unit.tolist()):
        if (written := corpus.unit_text(unit)) not in SHARED:
            assert read(chat, got, row).strip() == written
    cut = align(corpus_of_texts(corpus.texts), short, truncate=True)
    assert cut.counts["truncated_texts"] > 2
    ends = np.diff(cut.offsets)[cut.sequence] - 1
    np.testing.assert_array_equal(cut.last, ends)


def test_a_context_that_the_template_fills(chat: Handle) -> None:
    with pytest.raises(UserError, match=r"max_length=5 leaves no room for text: .* special tokens"):
        align(corpus_of_words(["a b"]), dataclasses.replace(chat, context=5))


def test_caches_of_other_texts_have_other_names(chat: Handle) -> None:
    """What is a reply changes the numbers; without a template it is not looked at."""

    def name(handle: Handle, corpus: Corpus) -> str:
        return cache_key(
            handle,
            corpus,
            "heads",
            layers=None,
            position=PositionConfig(),
            extraction=ExtractionConfig(),
            truncate=False,
        ).name

    corpus = corpus_of_texts(["one dog"], "answer")
    moved = dataclasses.replace(corpus, answered_at={0: 3})
    assert corpus.text_fingerprint == moved.text_fingerprint
    plain = open_model(ModelConfig(name=chat.name))
    assert len({name(chat, corpus), name(chat, moved), name(plain, corpus)}) == 3
    assert name(plain, corpus) == name(plain, moved)
    assert LEVELS[corpus.units.level[0]] == "answer"
