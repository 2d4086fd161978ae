"""Answers and contrasts: what the builder refuses, and what stays with a corpus."""

from __future__ import annotations

from random import Random

import pytest

from probes.config import SplitConfig
from probes.core.errors import UserError
from probes.corpora.answers import Answer, Contrast, derange
from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import Corpus
from probes.corpora.splits import assign_splits

TEXT = "Ann and Bo met, Bo gave it to"


def builder(*texts: str) -> CorpusBuilder:
    made = CorpusBuilder("names")
    for number, text in enumerate(texts or (TEXT,)):
        example = made.add_text(text, group=text, split=number % 3)
        made.add_unit(example, 0, len(text), "answer", {"name": "Ann"})
    return made


def corpus(*, answers: bool = True) -> Corpus:
    texts = ["a b c", "a c b", "b a c", "c a b", "a b c"]
    made = builder(*texts)
    if answers:
        for example in (2, 0):
            made.add_answer(example, 3, texts[example][3:], alternatives=[" d", " e", " d"])
            made.add_answer(example, 1, texts[example][1:3], feature="name")
            made.add_contrast(example, "b b b", kind="other")
            made.add_contrast(example, "c c c", kind="third", answer=" a")
    return made.build()


def test_answers_come_in_the_order_of_the_texts() -> None:
    assert corpus().answers[:2] == (
        Answer(0, 1, " b", (), "name"),
        Answer(0, 3, " c", (" d", " e")),
    )
    assert [answer.example for answer in corpus().answers] == [0, 0, 2, 2]
    assert corpus().contrasts == (
        Contrast(0, "other", "b b b"),
        Contrast(0, "third", "c c c", " a"),
        Contrast(2, "other", "b b b"),
        Contrast(2, "third", "c c c", " a"),
    )


def test_they_have_a_fingerprint_of_their_own() -> None:
    with_answers, without = corpus(), corpus(answers=False)
    assert with_answers.fingerprint == without.fingerprint
    assert with_answers.text_fingerprint == without.text_fingerprint
    assert with_answers.answers_fingerprint == corpus().answers_fingerprint
    assert with_answers.answers_fingerprint != without.answers_fingerprint


def test_splits_and_dropped_examples_leave_them_where_they_are() -> None:
    made = corpus()
    split = assign_splits(made, SplitConfig(source="shipped"))
    assert (split.splits < 0).any(), "a text that recurs is dropped"
    assert split.answers == made.answers and split.contrasts == made.contrasts
    for answer in split.answers:
        assert split.texts[answer.example].startswith(answer.text, answer.offset)


@pytest.mark.parametrize(
    ("offset", "text", "alternatives", "message"),
    [
        (len(TEXT), " ", [], "it is empty"),
        (len(TEXT) + 1, " Ann", [], r"offset 30; allowed: 0 to 29"),
        (-1, " Ann", [], "offset -1"),
        (3, " or", [], "after 3 characters the text goes on with ' and Bo met"),
        (len(TEXT), " Ann", [" Bo", " Ann"], "one of its own alternatives"),
    ],
)
def test_answers_that_do_not_fit(
    offset: int, text: str, alternatives: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        builder().add_answer(0, offset, text, alternatives=alternatives)


@pytest.mark.parametrize(
    ("text", "message"),
    [(TEXT, "both are the same"), (f"{TEXT} you", "9 words; allowed: 8 words, as in the text")],
)
def test_contrasts_that_are_no_twins(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        builder().add_contrast(0, text, kind="other")


def test_one_answer_at_a_place_and_one_contrast_of_a_kind() -> None:
    made = builder()
    made.add_answer(0, len(TEXT), " Ann")
    with pytest.raises(UserError, match="two answers at character 29 of text 0"):
        made.add_answer(0, len(TEXT), " Cy")
    made.add_contrast(0, TEXT.replace("Bo", "Cy"), kind="third_name")
    with pytest.raises(UserError, match="two contrasts 'third_name' of text 0"):
        made.add_contrast(0, TEXT.replace("Bo", "Di"), kind="third_name")


def test_derangements() -> None:
    for seed in range(20):
        order = derange(Random(seed), ["a", "b", "c", "c"])
        assert order is not None and sorted(order) == ["a", "b", "c", "c"]
        assert order != ["a", "b", "c", "c"]
        full = derange(Random(seed), list("abcdef"))
        assert full is not None
        assert sum(new == old for new, old in zip(full, "abcdef", strict=True)) <= 1
    assert derange(Random(0), ["a", "a"]) is None
    assert derange(Random(0), []) is None
