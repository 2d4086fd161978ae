"""Answers, alternatives and contrasts of generated corpora: properties of all, oracles of some."""

from __future__ import annotations

import re
from itertools import islice, pairwise
from typing import Any

import pytest

from probes.config import GeneratedConfig
from probes.corpora.answers import Answer, count_words
from probes.corpora.corpus import Corpus
from probes.corpora.generated import generate, load
from probes.corpora.generated.data.fact_table import ANSWERS, FACTS
from probes.corpora.generated.kit.prompt import GeneratedCorpus, Prompt, corpus_of
from tests.corpora.fingerprints import OPTIONS

CASES = [(name, options) for name, tried in OPTIONS.items() for options in tried]
KINDS = {
    "ioi": {"third_name", "swapped_order", "swapped_roles"},
    "facts": {"other_subject", "other_relation"},
    "consistency": {"other_subject"},
    "insertion": {"other_subject"},
    "key_value": {"other_key"},
    "induction": {"other_word"},
    "succession": {"other_element"},
    "choices": {"swapped_options"},
    "binary": {"other_claim"},
    "few_shot": {"other_query"},
    "functions": {"other_input", "shuffled_outputs"},
    "coloured_objects": {"other_object"},
    "languages": {"other_person"},
    "needle": {"other_person"},
}
SEVERAL = {"induction", "markov", "key_value", "succession", "iteration", "few_shot", "acronyms"}
SEVERAL |= {"functions"}
"""Corpora whose texts have several answers."""
FACT = {(fact.relation, fact.subject): fact.answer for facts in FACTS.values() for fact in facts}


def config(name: str, options: dict[str, Any], examples: int = 40) -> GeneratedConfig:
    few = 10 if options.get("cycle") == 2 else examples
    return GeneratedConfig(name=name, examples=few, seed=5, options=options)


def ends(corpus: Corpus) -> dict[int, Answer]:
    """Text -> its answer at END."""
    return {a.example: a for a in corpus.answers if a.offset == len(corpus.texts[a.example])}


@pytest.mark.parametrize(("name", "options"), CASES)
class TestEveryCorpus:
    def test_every_text_ends_in_an_answer(self, name: str, options: dict[str, Any]) -> None:
        corpus = load(config(name, options))
        assert set(ends(corpus)) == set(range(len(corpus.texts)))
        if name in SEVERAL and 1 not in options.values() and options.get("shots") != 0:
            assert len(corpus.answers) > len(corpus.texts)

    def test_answers_are_words_that_follow_a_space(
        self, name: str, options: dict[str, Any]
    ) -> None:
        corpus = load(config(name, options))
        for answer in corpus.answers:
            text = corpus.texts[answer.example]
            assert re.fullmatch(r" [\w¿]+", answer.text)
            assert answer.offset == len(text) or re.match(
                re.escape(answer.text) + r"\b", text[answer.offset :]
            )
            assert not answer.sequence

    def test_alternatives_are_others_than_the_answer(
        self, name: str, options: dict[str, Any]
    ) -> None:
        corpus = load(config(name, options))
        for answer in corpus.answers:
            assert answer.alternatives or name == "structure"
            assert answer.text not in answer.alternatives
            assert len(set(answer.alternatives)) == len(answer.alternatives)
            assert all(re.fullmatch(r" [\w¿]+", other) for other in answer.alternatives)

    def test_the_feature_of_an_answer_exists(self, name: str, options: dict[str, Any]) -> None:
        corpus = load(config(name, options))
        for answer in corpus.answers:
            assert answer.feature == "" or answer.feature in corpus.features

    def test_twins_are_as_long_and_differ(self, name: str, options: dict[str, Any]) -> None:
        corpus = load(config(name, options))
        assert {twin.kind for twin in corpus.contrasts} <= KINDS.get(name, set())
        for twin in corpus.contrasts:
            text = corpus.texts[twin.example]
            assert twin.text != text and count_words(twin.text) == count_words(text)
            assert twin.answer == "" or re.fullmatch(r" [\w¿]+", twin.answer)

    def test_they_follow_from_the_seed(self, name: str, options: dict[str, Any]) -> None:
        first, again = load(config(name, options)), load(config(name, options))
        assert first.answers_fingerprint == again.answers_fingerprint

    def test_hints_are_no_answers(self, name: str, options: dict[str, Any]) -> None:
        for prompt in islice(generate(config(name, options)).prompts, 50):
            offsets = [answer.offset for answer in prompt.expected()]
            assert offsets == sorted(set(offsets))
            assert {(a.offset, a.word) for a in prompt.expected()} <= set(prompt.targets)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_contrast_occurs(name: str) -> None:
    corpus = load(config(name, {}))
    assert {twin.kind for twin in corpus.contrasts} == KINDS[name]
    if name == "functions":
        return  # where all other inputs or outputs are the same there is none
    twins = [twin for twin in corpus.contrasts if twin.kind == corpus.contrasts[0].kind]
    assert len(twins) == len(corpus.texts), "the first kind is there for every text"


@pytest.mark.parametrize("name", sorted(set(KINDS) - {"ioi"}))
def test_a_twin_with_an_answer_has_another_one(name: str) -> None:
    corpus = load(config(name, {}))
    answers = ends(corpus)
    for twin in corpus.contrasts:
        assert twin.answer != answers[twin.example].text or not twin.answer


def test_ioi() -> None:
    corpus = load(config("ioi", {}))
    answers = ends(corpus)
    for twin in corpus.contrasts:
        text, answer = corpus.texts[twin.example], answers[twin.example]
        receiver, (giver,) = answer.text.strip(), (a.strip() for a in answer.alternatives)
        begin, rest = twin.text.rsplit(",", 1)
        assert giver in begin and receiver in begin
        if twin.kind == "third_name":
            assert twin.answer == ""
            assert rest.split()[0] not in (giver, receiver)
            assert twin.text.count(giver) == twin.text.count(receiver) == 1
        elif twin.kind == "swapped_order":
            assert twin.answer == answer.text
            assert (begin.index(giver) < begin.index(receiver)) != (
                text.index(giver) < text.index(receiver)
            )
        else:
            assert rest.split()[0] == receiver and twin.answer == f" {giver}"


def test_no_third_name_where_there_are_two() -> None:
    corpus = load(config("ioi", {"names": 2}))
    assert {twin.kind for twin in corpus.contrasts} == {"swapped_order", "swapped_roles"}


@pytest.mark.parametrize("hold_out", ["subject", "template"])
def test_facts(hold_out: str) -> None:
    corpus = load(config("facts", {"hold_out": hold_out}))
    answers = ends(corpus)
    for twin in corpus.contrasts:
        subjects = {subject for _, subject in FACT if re.search(rf"\b{subject}\b", twin.text)}
        assert any(
            FACT.get((relation, subject)) == twin.answer.strip()
            for relation in FACTS
            for subject in subjects
        )
        said = answers[twin.example].text.strip()
        (relation,) = (name for name in FACTS if said in ANSWERS[name])
        same = twin.answer.strip() in ANSWERS[relation]
        assert same == (twin.kind == "other_subject")


def test_induction() -> None:
    corpus = load(config("induction", {}))
    for twin in corpus.contrasts:
        said = twin.text.split()
        assert said[:-1] == corpus.texts[twin.example].split()[:-1]
        assert {b for a, b in pairwise(said) if a == said[-1]} == {twin.answer.strip()}


def test_key_value() -> None:
    corpus = load(config("key_value", {}))
    for twin in corpus.contrasts:
        said = twin.text.split()
        pairs = dict(zip(said[0:8:2], said[1:8:2], strict=True))
        assert pairs[said[-1]] == twin.answer.strip()
    for answer in corpus.answers:
        listed = corpus.texts[answer.example].split()[1:8:2]
        assert {answer.text, *answer.alternatives} == {f" {value}" for value in listed}


def test_choices() -> None:
    corpus = load(config("choices", {}))
    for twin in corpus.contrasts:
        text = corpus.texts[twin.example]
        before, after = (dict(re.findall(r"\b([A-D]): (\w+)", each)) for each in (text, twin.text))
        letter = ends(corpus)[twin.example].text.strip()
        assert before[letter] == after[twin.answer.strip()]
        assert sum(before[x] != after[x] for x in before) == 2


def test_functions_shuffle_the_outputs_only() -> None:
    corpus = load(config("functions", {}))
    for twin in corpus.contrasts:
        text = corpus.texts[twin.example]
        if twin.kind == "shuffled_outputs":
            assert sorted(twin.text.split()) == sorted(text.split())
            assert twin.text.split()[-1] == text.split()[-1]
        else:
            assert twin.text.split()[:-3] == text.split()[:-3]


def test_succession() -> None:
    corpus = load(config("succession", {}))
    for twin in corpus.contrasts:
        text = corpus.texts[twin.example].split()
        changed = [(a, b) for a, b in zip(text, twin.text.split(), strict=True) if a != b]
        assert len(changed) == 1


def test_prompts_without_answers_of_their_own_have_their_targets() -> None:
    """The simplest prompt that a user writes: targets, of which the text goes on with some."""
    text = "one two three"
    prompt = Prompt(
        text, text, values={"next": "four"}, targets=((3, "two"), (7, "x"), (13, "four"))
    )
    generated = GeneratedCorpus(
        "numbers", iter([prompt]), "text", ("next",), {"next": "comes next"}
    )
    corpus = corpus_of(generated, generated.take(1))
    assert corpus.answers == (Answer(0, 3, " two"), Answer(0, 13, " four"))
