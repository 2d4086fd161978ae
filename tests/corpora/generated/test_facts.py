"""Corpora over the table of facts: answers worked out again from the texts alone."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

import pytest

from probes.corpora.generated.data.fact_table import ANSWERS, FACTS
from probes.corpora.generated.data.fact_templates import STATEMENTS
from tests.corpora.generated.reading import along, marked, prompts, said

ANSWER = {(fact.relation, fact.subject): fact.answer for fact in FACTS["capital"]}
for _facts in FACTS.values():
    ANSWER |= {(fact.relation, fact.subject): fact.answer for fact in _facts}
SUBJECTS = {subject for _, subject in ANSWER}


def relation_of(text: str) -> tuple[str, str]:
    """Relation and subject of the last statement in a text."""
    found = [
        (match.start(), relation, match[1])
        for relation, statements in STATEMENTS.items()
        for statement in statements
        for match in re.finditer(re.escape(statement).replace(r"\{\}", r"(\w+)") + r"\b", text)
    ]
    _, relation, subject = max(found)
    return relation, subject


def test_facts_that_are_known() -> None:
    known = """capital:Norway:Oslo capital:Peru:Lima capital:Kenya:Nairobi capital:Japan:Tokyo
        capital:Canada:Ottawa capital:Switzerland:Bern capital:Brazil:Brasilia capital:Iran:Tehran
        continent:Egypt:Africa continent:Nepal:Asia continent:Chile:America continent:Latvia:Europe
        language:Cuba:Spanish language:Iraq:Arabic language:Ghana:English language:Spain:Spanish
        currency:Ireland:euro currency:Togo:franc currency:Guyana:dollar currency:Ecuador:dollar
        category:violin:instrument category:plum:fruit category:camel:animal category:saw:tool
        category:scarf:garment category:tram:vehicle"""
    for entry in known.split():
        relation, subject, answer = entry.split(":")
        assert ANSWER[relation, subject] == answer


def test_each_subject_is_in_one_block_and_each_block_has_each_class() -> None:
    assert len(set(FACTS["capital"])) == len({fact.answer for fact in FACTS["capital"]}) >= 75
    blocks = defaultdict(set)
    for relation, facts in FACTS.items():
        assert len({fact.subject for fact in facts}) == len(facts)
        for fact in facts:
            blocks[fact.subject].add(fact.block)
        if relation != "capital":
            assert {(f.block, f.answer) for f in facts} == {
                (block, answer) for block in range(10) for answer in ANSWERS[relation]
            }
    assert all(len(found) == 1 for found in blocks.values())
    statements = [statement for found in STATEMENTS.values() for statement in found]
    assert len(set(statements)) == len(statements) == 50


@pytest.mark.parametrize("hold_out", ["subject", "template"])
def test_facts(hold_out: str) -> None:
    held, other = defaultdict(set), set()
    for prompt in prompts("facts", hold_out=hold_out):
        relation, subject = relation_of(prompt.text)
        assert prompt.values["relation"] == relation
        assert said(prompt) == ANSWER[relation, subject]
        held[subject].add(prompt.group)
        mentioned = [word for word in re.findall(r"\w+", prompt.text) if word in SUBJECTS]
        assert mentioned[-1] == subject and len(set(mentioned)) == len(mentioned)
        other.add(len(mentioned))
        if hold_out == "template":
            assert prompt.values["subject_relation"] == f"{subject} {relation}"
        elif relation != "capital":
            assert prompt.values["attribute"] == prompt.values[relation] == said(prompt)
    assert other == {1, 2}
    assert all(len(groups) == 1 for groups in held.values()) == (hold_out == "subject")


def test_choices() -> None:
    lengths: Counter[int] = Counter()
    for prompt in prompts("choices"):
        listed = dict(re.findall(r"\b([A-D]): (\w+)", prompt.text))
        relation, subject = relation_of(prompt.text)
        (letter,) = (x for x, word in listed.items() if word == ANSWER[relation, subject])
        assert said(prompt) == prompt.values["correct_letter"] == letter
        assert prompt.values["all_present"] == ("yes" if set(listed) == set("ABCD") else "no")
        assert marked(prompt, "option_letter") == {word: x for x, word in listed.items()}
        right = marked(prompt, "option_is_correct")
        assert sorted(right.values()) == ["no", "yes"] and right[listed[letter]] == "yes"
        assert len(set(listed.values())) == len(listed)
        truth = ["right" if word == listed[letter] else "wrong" for word in listed.values()]
        assert along(prompt) == [listed[letter], *truth]
        lengths[len(listed)] += 1
    assert set(lengths) == {3, 4}


def test_binary() -> None:
    for prompt in prompts("binary"):
        relation, subject = relation_of(prompt.text)
        (claimed,) = (word for word in re.findall(r"\w+", prompt.text) if word in ANSWERS[relation])
        true = claimed == ANSWER[relation, subject]
        doubt = r"wrong|mistake|false|fail|incorrect|lie\?|myth|doubt|object\?|mistaken"
        turned = bool(re.search(doubt, prompt.text))
        assert prompt.values["truth"] == ("true" if true else "false")
        assert prompt.values["question"] == ("wrong" if turned else "right")
        assert said(prompt) == prompt.values["answer_word"] == ("no" if true == turned else "yes")
        assert along(prompt) == [ANSWER[relation, subject], "right" if true else "wrong"]


def test_consistency() -> None:
    wordings = defaultdict(set)
    groups = defaultdict(set)
    for prompt in prompts("consistency", 1500):
        relation, subject = relation_of(prompt.text)
        assert said(prompt) == prompt.values["answer"] == ANSWER[relation, subject]
        number = int(prompt.values["wording"].split()[1])
        assert STATEMENTS[relation][number].format(subject) in prompt.text
        wordings[subject].add(number)
        groups[subject].add(prompt.group)
    assert all(len(found) == 1 for found in groups.values())
    assert len(wordings) > 100 and set(map(len, wordings.values())) == {6}


def test_insertion() -> None:
    lengths: defaultdict[int | None, Counter[tuple[bool, int]]] = defaultdict(Counter)
    for prompt in prompts("insertion", 1000):
        relation, subject = relation_of(prompt.text)
        assert relation == "category"
        assert said(prompt) == prompt.values["answer"] == ANSWER[relation, subject]
        mentioned = [word for word in re.findall(r"\w+", prompt.text) if word in SUBJECTS]
        inserted = mentioned[-2] != subject
        assert prompt.values["inserted"] == ("yes" if inserted else "no")
        if inserted:
            assert ANSWER["category", mentioned[-2]] != said(prompt)
        lengths[prompt.block][inserted, len(re.findall(r"\w+|[^\w\s]", prompt.text))] += 1
    for counts in lengths.values():  # the length does not tell whether there is an insertion
        assert {n for inserted, n in counts if inserted} == {n for i, n in counts if not i}


def test_faithfulness() -> None:
    for prompt in prompts("faithfulness"):
        relation, subject = relation_of(prompt.text)
        answers = [word for word in re.findall(r"\w+", prompt.text) if word in ANSWERS[relation]]
        told, answer = answers
        prior = ANSWER[relation, subject]
        assert told != prior
        source = {told: "context", prior: "prior"}.get(answer, "neither")
        assert prompt.values["source"] == source
        assert marked(prompt, "answer_source")[answer] == source
        assert said(prompt) == {"context": "story", "prior": "world", "neither": "nothing"}[source]
        assert along(prompt) == [prior, said(prompt)]
