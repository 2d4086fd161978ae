"""Answers and contrasts that readers of files give: from columns, other rows, or what they read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from probes.config import FunctionVectorsConfig, TableConfig
from probes.core.errors import UserError
from probes.corpora import load_corpus
from probes.corpora.answers import Answer, count_words
from probes.corpora.corpus import Corpus
from tests.corpora.fingerprints import write_files


@pytest.fixture
def corpora(tmp_path: Path) -> dict[str, Corpus]:
    return {case: load_corpus(config) for case, config in write_files(tmp_path).items()}


def table(tmp_path: Path, rows: list[dict[str, Any]], **options: Any) -> Corpus:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows))
    options = {"text": "prompt", "answer": "said", "level": "answer"} | options
    return load_corpus(TableConfig(path=str(path), **options))


ROWS: list[dict[str, Any]] = [
    {"prompt": "The sky is", "said": "blue", "wrong": ["red", "grey"], "other": "The grass is"},
    {"prompt": "Snow is ", "said": "white", "wrong": "red|black", "other": "Coal is"},
    {"prompt": "Coal is", "said": " black", "wrong": None, "other": "Coal is"},
]


def test_columns(tmp_path: Path) -> None:
    corpus = table(tmp_path, ROWS, alternatives="wrong", corrupted="other")
    assert corpus.answers == (
        Answer(0, 10, " blue", (" red", " grey"), "answer"),
        Answer(1, 8, "white", ("red", "black"), "answer"),
        Answer(2, 7, " black", (), "answer"),
    )
    assert [(c.example, c.kind, c.text) for c in corpus.contrasts] == [
        (0, "corrupted", "The grass is"),
        (1, "corrupted", "Coal is"),
    ]
    assert corpus.default_features == ("answer",), "without labels, the answer is one"


def test_the_answer_of_a_label_and_the_prefix(tmp_path: Path) -> None:
    corpus = table(tmp_path, ROWS[:1], labels={"colour": "said"}, answer_prefix=": ")
    assert corpus.answers == (Answer(0, 10, ": blue", (), "colour"),)


def test_twins_of_another_length_are_counted(tmp_path: Path) -> None:
    rows = [*ROWS, {"prompt": "Blood is", "said": "red", "other": "The colour of grass is"}]
    corpus = table(tmp_path, rows, corrupted="other")
    assert corpus.notes == ("1 corrupted texts left out: another number of words",)
    with pytest.raises(UserError, match="none of 1 texts has as many words"):
        table(tmp_path, rows[-1:], corrupted="other")


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"answer": "sayd"}, r"corpus\.answer=sayd: .*no column 'sayd'.*answer=said"),
        ({}, {"corrupted": "twin"}, r"corpus\.corrupted=twin: .*no column"),
        ({"wrong": ["red", "blue"]}, {"alternatives": "wrong"}, "'blue' is one of its altern"),
        ({"wrong": {"a": 1}}, {"alternatives": "wrong"}, "column 'wrong' holds a dict"),
        ({}, {"preferred": "good"}, r"corpus\.preferred=good: no such class"),
    ],
)
def test_bad_columns(
    tmp_path: Path, change: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        table(tmp_path, [ROWS[0] | change], **options)


def test_other_rows_that_ask_the_same(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"The capital of {country} is", "said": city, "asked": "capital", "of": country}
        for country, city in (("Peru", "Lima"), ("Japan", "Tokyo"), ("New Zealand", "Wellington"))
    ] + [{"prompt": "Cats are", "said": "animals", "asked": "kind", "of": "Cats"}]
    corpus = table(tmp_path, rows, peers="asked", swap="of")
    assert corpus.answers[0].alternatives == (" Tokyo", " Wellington")
    assert corpus.answers[3].alternatives == ()
    twins = [(twin.example, twin.kind, twin.text, twin.answer) for twin in corpus.contrasts]
    assert twins == [
        (0, "other_of", "The capital of Japan is", " Tokyo"),
        (1, "other_of", "The capital of Peru is", " Lima"),
    ], "the third country has two words, and cats have no peers"


def test_pairs(tmp_path: Path) -> None:
    config = write_files(tmp_path)["pairs"]
    assert isinstance(config, TableConfig)
    config.preferred = "good"
    corpus = load_corpus(config)
    assert corpus.answers[0] == Answer(
        0, 0, "She sees herself.", ("She sees himself.",), "acceptability", sequence=True
    )
    assert [answer.example for answer in corpus.answers] == [0, 2, 4]
    assert [(twin.example, twin.kind) for twin in corpus.contrasts] == [(0, "bad"), (4, "bad")]


def test_ioi(corpora: dict[str, Corpus]) -> None:
    corpus = corpora["ioi_841"]
    assert corpus.answers[0] == Answer(0, len(corpus.texts[0]), " Ann", (" Bo",), "name")
    third, order, roles = corpus.contrasts[:3]
    assert (third.kind, order.kind, roles.kind) == ("third_name", "swapped_order", "swapped_roles")
    assert third.text.split(", ")[1].split()[0] not in ("Ann", "Bo") and third.answer == ""
    assert order.text.startswith("After Bo and Ann went") and order.answer == " Ann"
    assert roles.text.endswith("zoo, Ann gave a fig to") and roles.answer == " Bo"
    assert corpus.contrasts[-1].text == "The park Cy and Di went to had a pear. Cy gave it to"


def test_relations(corpora: dict[str, Corpus]) -> None:
    corpus = corpora["relations_lre"]
    for twin in corpus.contrasts:
        assert twin.kind == "other_subject" and twin.answer
        assert count_words(twin.text) == count_words(corpus.texts[twin.example])
    by_text = {corpus.texts[answer.example]: answer for answer in corpus.answers}
    assert by_text["Ann plays"].text == " golf" and by_text["Ann plays"].feature == "sport"
    assert set(by_text["Ann plays"].alternatives) == {" polo", " chess"}
    assert by_text["Ed Fox plays"].feature == "", "nobody shares chess"
    contrasted = {corpus.texts[twin.example] for twin in corpus.contrasts}
    assert "Ed Fox plays" not in contrasted, "no other subject has two words"


def test_function_vectors(corpora: dict[str, Corpus], tmp_path: Path) -> None:
    corpus = corpora["function_vectors"]
    for answer in corpus.answers:
        text = corpus.texts[answer.example]
        asked = text.rsplit("Q: ", 1)[1].removesuffix("\nA:")
        assert answer.text.strip() in (asked.upper(), asked[0], f"{asked} {asked}")
        assert answer.text.startswith(" ") and answer.text not in answer.alternatives
        outputs = [part.split("\nA:")[1] for part in text.split("\n\n")[:-1]]
        assert set(answer.alternatives) == set(outputs) - {answer.text}
    for twin in corpus.contrasts:
        assert sorted(twin.text.split()) == sorted(corpus.texts[twin.example].split())
    assert corpora["function_vectors other seed"].contrasts == (), "no demonstrations"
    glued = FunctionVectorsConfig(
        path=str(tmp_path / "functions"), demonstration="{input}>{output};", question="{input}>"
    )
    assert not load_corpus(glued).answers[0].text.startswith(" ")


def test_multiple_choice(corpora: dict[str, Corpus]) -> None:
    corpus = corpora["multiple_choice"]
    assert [answer.text for answer in corpus.answers] == [" B", " A", " C"]
    assert corpus.answers[0].alternatives == (" A", " C")
    for twin in corpus.contrasts:
        right = corpus.answers[twin.example].text.strip()
        before, after = (
            dict(line.split(". ", 1) for line in text.split("\n")[1:-1])
            for text in (corpus.texts[twin.example], twin.text)
        )
        assert before[right] == after[twin.answer.strip()]


def test_truthfulqa(corpora: dict[str, Corpus]) -> None:
    corpus = corpora["truthfulqa"]
    assert corpus.answers == (
        Answer(0, 16, " Nobody", (" Everyone", " All of us"), "truthful", sequence=True),
        Answer(1, 16, " Not me", (" Everyone", " All of us"), "truthful", sequence=True),
    ), "questions with true or false answers only have nothing to compare"
    assert [(twin.example, twin.text) for twin in corpus.contrasts] == [
        (0, "Q: Who, then? A: Everyone")
    ]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "folder", "least"),
    [("known_1000", "known_1000_ioi", 1000), ("blimp", "blimp", 15000)],
)
def test_real_files(shared: Path, tmp_path: Path, name: str, folder: str, least: int) -> None:
    from tests.corpora.test_corpus_configs import composed

    path = shared / "data" / folder
    corpus = load_corpus(composed(tmp_path, f"corpus={name}", f"corpus.path={path}"))
    assert len(corpus.answers) >= least and len(corpus.contrasts) >= least
    assert not any("left out" in note for note in corpus.notes)
