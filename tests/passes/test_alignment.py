from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, processors
from transformers import PreTrainedTokenizerFast

from probes.config import ModelConfig, PositionConfig
from probes.core.errors import UserError
from probes.corpora.corpus import Corpus
from probes.models.handle import Handle
from probes.models.loading import open_model
from probes.passes import alignment as module
from probes.passes.alignment import Alignment, align
from tests.small_corpora import (
    corpus_of_texts,
    corpus_of_words,
    make_corpus,
    mixed_corpus,
    random_texts,
)


def overlapping(handle: Handle, corpus: Corpus, unit: int) -> list[int]:
    """Tokens of the whole text that share a character with a unit: one by one, from offsets."""
    text = corpus.texts[corpus.units.example[unit]]
    encoding = handle.encode([text])[0]
    start, end = corpus.units.start[unit], corpus.units.end[unit]
    return [
        index
        for index, (a, b) in enumerate(encoding.offsets)
        if not encoding.special[index] and max(a, start) < min(b, end)
    ]


def ids_of(alignment: Alignment, sequence: int) -> list[int]:
    begin, end = alignment.offsets[sequence], alignment.offsets[sequence + 1]
    return [int(token) for token in alignment.ids[begin:end]]


def check_groups(got: Alignment) -> None:
    np.testing.assert_array_equal(got.grouped, np.argsort(got.sequence, kind="stable"))
    starts = np.searchsorted(got.sequence[got.grouped], np.arange(len(got.example) + 1))
    np.testing.assert_array_equal(got.bounds, starts)


@pytest.mark.parametrize(
    ("word", "text"),
    [("last_subword", "last_token"), ("first_subword", "mean"), ("mean", "last_token")],
)
def test_equals_a_search_token_by_token(any_tokenizer: Handle, word: str, text: str) -> None:
    corpus = mixed_corpus(random_texts(40))
    position = PositionConfig(word=word, text=text)
    got = align(corpus, any_tokenizer, position)
    words = [
        overlapping(any_tokenizer, corpus, int(u)) for u in np.flatnonzero(corpus.units.level == 0)
    ]
    assert got.counts == {
        "units": len(corpus.units),
        "words": len(words),
        "split_words": sum(len(tokens) > 1 for tokens in words),
        "word_tokens": sum(map(len, words)),
        "dropped_units": 0,
        "split_texts": 0,
        "truncated_texts": 0,
        "unread_texts": 0,
    }
    for row, unit in enumerate(got.unit):
        tokens = overlapping(any_tokenizer, corpus, unit)
        mode = word if corpus.units.level[unit] == 0 else text
        expected = {
            "last_subword": (tokens[-1], tokens[-1]),
            "last_token": (tokens[-1], tokens[-1]),
            "first_subword": (tokens[0], tokens[0]),
            "mean": (tokens[0], tokens[-1]),
        }[mode]
        assert (got.first[row], got.last[row]) == expected
        assert got.example[got.sequence[row]] == corpus.units.example[unit]
    check_groups(got)


def test_sequences_are_the_texts_as_the_tokenizer_writes_them(any_tokenizer: Handle) -> None:
    texts = random_texts(20)
    got = align(corpus_of_words(texts), any_tokenizer)
    assert list(got.example) == list(range(20))
    expected = [encoding.ids for encoding in any_tokenizer.encode(texts)]
    assert [ids_of(got, s) for s in range(20)] == expected


def test_the_last_token_of_a_text_is_not_special(any_tokenizer: Handle) -> None:
    texts = ["the old sailor", "a storm"]
    got = align(corpus_of_texts(texts), any_tokenizer)
    for row, encoding in enumerate(any_tokenizer.encode(texts)):
        last = max(i for i, special in enumerate(encoding.special) if not special)
        assert got.last[row] == got.first[row] == last


def test_parts_of_a_corpus_join_without_a_seam(
    llama: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = mixed_corpus(random_texts(30, seed=1, longest=40))
    short = dataclasses.replace(llama, context=20)
    whole = align(corpus, short, truncate=True)
    monkeypatch.setattr(module, "TEXTS_AT_ONCE", 7)
    pieces = align(corpus, short, truncate=True)
    for field in dataclasses.fields(Alignment):
        got, expected = getattr(pieces, field.name), getattr(whole, field.name)
        if field.name == "counts":
            assert got == expected
    check_groups(pieces)
    # Sequences may be numbered differently; what each row reads may not.
    for row in range(len(whole)):
        assert ids_of(pieces, pieces.sequence[row]) == ids_of(whole, whole.sequence[row])
    for name in ("unit", "first", "last"):
        np.testing.assert_array_equal(getattr(pieces, name), getattr(whole, name))


class TestLongTexts:
    def test_words_are_read_in_windows_that_cut_no_word(self, any_tokenizer: Handle) -> None:
        context = 12
        short = dataclasses.replace(any_tokenizer, context=context)
        corpus = corpus_of_words(random_texts(10, seed=2, longest=60))
        got = align(corpus, short)
        assert got.counts["split_texts"] > 5
        assert got.lengths.max() <= context
        framed = any_tokenizer.encode(["a"])[0]
        special = sum(framed.special)
        front = framed.special.index(False)
        for row, unit in enumerate(got.unit):
            # The window's tokens are a slice of the whole text's, so counting back finds it.
            text = any_tokenizer.encode([corpus.texts[corpus.units.example[unit]]])[0]
            inner = [t for t, s in zip(text.ids, text.special, strict=True) if not s]
            window = ids_of(got, got.sequence[row])
            bare = window[front : len(window) - (special - front)]
            assert window[:front] == framed.ids[:front]
            assert (
                window[len(window) - (special - front) :]
                == framed.ids[len(framed.ids) - (special - front) :]
            )
            begin = overlapping(any_tokenizer, corpus, unit)[-1] - got.last[row]
            assert inner[begin : begin + len(bare)] == bare
        dropped = got.counts["dropped_units"]
        longer = sum(
            len(overlapping(any_tokenizer, corpus, unit)) > context - special
            for unit in range(len(corpus.units))
        )
        assert dropped == longer
        assert len(got) == len(corpus.units) - dropped

    def test_windows_are_full_where_words_allow(self, llama: Handle) -> None:
        short = dataclasses.replace(llama, context=16)
        got = align(corpus_of_words(["a " * 70]), short)
        assert all(length > 16 - 3 for length in got.lengths[:-1])

    def test_texts_are_refused_and_counted(self, llama: Handle) -> None:
        texts = ["short", "word " * 100, "also short", "another " * 200]
        with pytest.raises(UserError) as error:
            align(corpus_of_texts(texts), llama)
        longest = len(llama.encode(texts)[3].ids) - 1
        assert "2 of 4 texts exceed the model's context of 64" in str(error.value)
        assert f"the longest has {longest} tokens and 1 special ones" in str(error.value)
        assert "truncate=true" in error.value.fix

    def test_words_of_long_texts_are_read_where_nobody_asks_for_sentences(
        self, llama: Handle
    ) -> None:
        short = dataclasses.replace(llama, context=16)
        corpus = mixed_corpus(["storm " * 40, "a storm", ""])
        with pytest.raises(UserError, match="1 of 3 texts exceed"):
            align(corpus, short)
        got = align(corpus, short, whole_texts=False)
        assert got.counts["unread_texts"] == 2  # the long one and the empty one
        levels = corpus.units.level[got.unit]
        assert (levels == 0).sum() == (corpus.units.level == 0).sum()
        assert (levels == 2).sum() == 1
        words = align(corpus_of_words(["storm " * 40, "a storm"]), short)
        assert np.array_equal(got.ids, words.ids)

    def test_truncation_keeps_the_end(self, any_tokenizer: Handle) -> None:
        short = dataclasses.replace(any_tokenizer, context=10)
        text = "the old sailor mended nets before a storm came in " * 3
        got = align(corpus_of_texts([text]), short, PositionConfig(text="mean"), truncate=True)
        full = any_tokenizer.encode([text])[0]
        inner = [t for t, s in zip(full.ids, full.special, strict=True) if not s]
        framed = any_tokenizer.encode(["a"])[0]
        capacity = 10 - sum(framed.special)
        front = framed.special.index(False)
        ids = ids_of(got, 0)
        assert ids[front : front + capacity] == inner[-capacity:]
        assert len(ids) == 10
        assert got.counts["truncated_texts"] == 1
        assert got.first[0] == front
        assert got.last[0] <= front + capacity - 1

    def test_words_and_their_sentence_take_different_sequences(self, llama: Handle) -> None:
        short = dataclasses.replace(llama, context=16)
        corpus = mixed_corpus(["storm " * 40, "a storm"])
        got = align(corpus, short, truncate=True)
        assert len(got) == len(corpus.units)
        assert got.counts["truncated_texts"] == got.counts["split_texts"] == 1
        sentence = int(np.flatnonzero(corpus.units.level == 2)[0])
        row = int(np.flatnonzero(got.unit == sentence)[0])
        assert got.lengths[got.sequence[row]] == 16
        assert np.all(np.diff(got.unit) > 0)
        assert np.any(np.diff(got.sequence) < 0)
        check_groups(got)


class TestDropped:
    def test_units_without_a_token_are_left_out_and_counted(self, any_tokenizer: Handle) -> None:
        texts = ["a storm", "the sailor"]
        units = [(0, 0, 1, "word"), (0, 1, 2, "word"), (0, 2, 7, "word"), (1, 0, 3, "word")]
        encoding = any_tokenizer.encode(["a storm"])[0]
        space_is_a_token = any(a <= 1 < b for a, b in encoding.offsets)
        got = align(make_corpus(texts, units), any_tokenizer)
        assert got.counts["dropped_units"] == (0 if space_is_a_token else 1)
        assert len(got) == 4 - got.counts["dropped_units"]

    def test_control_characters_vanish_in_wordpiece(self, any_tokenizer: Handle) -> None:
        text = "a \x00 storm"
        got = align(corpus_of_words([text]), any_tokenizer)
        tokens = any_tokenizer.encode([text])[0]
        assert len(got) + got.counts["dropped_units"] == got.counts["units"]
        covered = any(a <= 2 < b for a, b in tokens.offsets)
        assert (got.counts["dropped_units"] == 0) == covered

    def test_texts_without_units_are_not_run(self, llama: Handle) -> None:
        got = align(make_corpus(["a", "storm", "b"], [(1, 0, 5, "word")]), llama)
        assert list(got.example) == [1]

    def test_a_text_of_zero_tokens_is_left_out_and_counted(
        self, llama: Handle, caplog: pytest.LogCaptureFixture
    ) -> None:
        got = align(corpus_of_texts(["a storm", "", ""]), llama)
        assert list(got.unit) == [0] and got.counts["empty_texts"] == 2
        assert "2 of 3 texts are empty to the tokenizer and left out" in caplog.text
        assert "the first is text 1" in caplog.text

    def test_text_of_zero_width_characters(self, llama: Handle) -> None:
        """The tokenizer of BERT, for example, removes them."""
        backend = Tokenizer.from_str(llama.tokenizer.backend_tokenizer.to_str())
        backend.normalizer = normalizers.Replace(Regex("[\u200b\u200c\ufeff]"), "")
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>")
        handle = dataclasses.replace(llama, tokenizer=tokenizer)
        got = align(corpus_of_texts(["\u200b\u200c", "a storm", "\ufeff"]), handle)
        assert list(got.unit) == [1] and got.counts["empty_texts"] == 2

    @pytest.mark.parametrize("framed", [False, True])
    def test_tokenizer_without_a_token_for_a_letter(self, llama: Handle, framed: bool) -> None:
        """Of DNA, for example: it keeps nothing of any other text."""
        pieces = {"<s>": 0, "</s>": 1} | {base: 2 + n for n, base in enumerate("ACGT")}
        backend = Tokenizer(models.BPE(vocab=pieces, merges=[]))
        if framed:
            backend.post_processor = processors.TemplateProcessing(
                single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
            )
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>")
        handle = dataclasses.replace(llama, tokenizer=tokenizer)
        got = align(corpus_of_texts(["nnn", "ACGT", "GG"]), handle)
        inside = [[2, 3, 4, 5], [4, 4]]
        expected = [[0, *ids, 1] if framed else ids for ids in inside]
        assert list(got.ids) == [token for ids in expected for token in ids]
        assert list(got.unit) == [1, 2] and got.counts["empty_texts"] == 1
        with pytest.raises(UserError, match="no token for any of its 1 units"):
            align(corpus_of_texts(["nnn"]), handle)

    def test_no_unit_left(self, llama: Handle) -> None:
        with pytest.raises(UserError, match="no token for any of its 1 units"):
            align(make_corpus(["", "a"], [(0, 0, 0, "word")]), llama)


class TestBadInput:
    @pytest.mark.parametrize("field", ["word", "text"])
    def test_unknown_position(self, llama: Handle, field: str) -> None:
        position = PositionConfig(**{field: "middle"})
        with pytest.raises(UserError, match=f"position.{field}=middle") as error:
            align(corpus_of_words(["a"]), llama, position)
        assert "mean" in error.value.allowed

    def test_context_filled_by_special_tokens(self, llama: Handle) -> None:
        with pytest.raises(UserError, match="leaves no room for text"):
            align(corpus_of_words(["a"]), dataclasses.replace(llama, context=1))

    def test_invalid_unicode_names_the_text(self, llama: Handle) -> None:
        with pytest.raises(UserError, match=r"text 1 .* is not valid Unicode"):
            align(corpus_of_texts(["fine", "broken \ud800"]), llama)


@pytest.mark.shared
def test_stories260k_reads_the_piece_that_ends_the_word(shared: Any) -> None:
    handle = open_model(ModelConfig(name=str(shared / "models" / "stories260K")))
    text = "Once upon a time, there was a naïve dog."
    corpus = corpus_of_words([text])
    got = align(corpus, handle, PositionConfig(word="mean"))
    for row, unit in enumerate(got.unit):
        ids = ids_of(got, 0)[got.first[row] : got.last[row] + 1]
        assert handle.tokenizer.decode(ids).strip() == corpus.unit_text(int(unit))
