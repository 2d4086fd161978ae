"""What counts as no value, no text and no character."""

from __future__ import annotations

import numpy as np
import pytest

from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import TRAIN
from probes.corpora.missing import given, is_blank, is_missing
from probes.corpora.numbers import many_numbers, same_spelling


@pytest.mark.parametrize(
    "value",
    [None, float("nan"), np.float32("nan"), "", " \t\n", "\u200b\ufeff", "nan", " NaN ", "<NA>"],
)
def test_missing(value: object) -> None:
    assert is_missing(value)


@pytest.mark.parametrize("value", [0, 0.0, False, "0", "no", "none", "None", "NA", "Nan", "_", []])
def test_not_missing(value: object) -> None:
    assert not is_missing(value)


def test_mark_of_a_format() -> None:
    assert given("_", mark="_") is None and given("_") == "_"


@pytest.mark.parametrize(
    "text", ["", "\u200d\u200c", "\u00ad", "\u2060\ufe0f", "\u2800\u3164", "\x00"]
)
def test_blank_to_people(text: str) -> None:
    assert is_blank(text)


def test_not_blank() -> None:
    assert not any(map(is_blank, ("a", "\u200ba", ".", "\u0301a", "\U0001f44d", "\u4e0a")))


@pytest.mark.parametrize(
    ("names", "spelling"),
    [
        (["1", "1.0", "0", "0.0"], {"1.0": "1", "0.0": "0"}),
        (["1.0", "0.0"], {}),
        (["01", "1", "2"], {"01": "1"}),
        (["1", "1.0", "one"], {}),
        (["True", "true", "FALSE"], {"True": "true", "FALSE": "false"}),
        (["1e1", "10", "+3"], {"1e1": "10", "+3": "3"}),
        (["1e9999", "2"], {}),
        (["-0", "0"], {"-0": "0"}),
        (["0.1", "0.10000000000000000001"], {}),
    ],
)
def test_one_spelling_of_a_number(names: list[str], spelling: dict[str, str]) -> None:
    assert same_spelling(names) == spelling


def test_many_numbers() -> None:
    assert not many_numbers([str(n) for n in range(20)])
    assert len(many_numbers([str(n) for n in range(21)])) == 21
    assert len(many_numbers([f"{n}.5" for n in range(11)])) == 11
    assert not many_numbers([*(str(n) for n in range(40)), "many"])


def test_characters_that_no_tokenizer_takes() -> None:
    builder = CorpusBuilder("toy")
    example = builder.add_text("half \ud83d and \0", group="\ud83d", split=TRAIN)
    builder.add_unit(example, 0, 4, "word", {"f": "a\udc4d"})
    corpus = builder.build()
    assert corpus.texts == ("half \ufffd and \ufffd",)
    assert corpus.features["f"].classes == ("a\ufffd",) and corpus.groups == ("\ufffd",)
    assert corpus.notes == ("2 NUL characters or halves of a character replaced by U+FFFD",)
