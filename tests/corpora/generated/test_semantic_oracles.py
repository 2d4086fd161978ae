"""Answers of the tasks over facts, words and names, worked out again from their texts alone."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from itertools import islice

import pytest

from probes.config import GeneratedConfig
from probes.corpora.generated import generate
from probes.corpora.generated.data.fact_table import ANSWERS, FACTS
from probes.corpora.generated.data.fact_templates import STATEMENTS
from probes.corpora.generated.kit.prompt import Prompt
from probes.corpora.generated.languages import COLOURS, LANGUAGES
from probes.corpora.generated.moods import TASTES
from probes.corpora.generated.reviews import JUDGEMENTS
from probes.corpora.generated.word_relations import THINGS

ANSWER = {(fact.relation, fact.subject): fact.answer for fact in FACTS["capital"]}
for _facts in FACTS.values():
    ANSWER |= {(fact.relation, fact.subject): fact.answer for fact in _facts}
SUBJECTS = {subject for _, subject in ANSWER}


def prompts(task: str, count: int = 400, **options: object) -> list[Prompt]:
    config = GeneratedConfig(name=task, seed=7, options=dict(options))
    return list(islice(generate(config).prompts, count))


def said(prompt: Prompt) -> str:
    return prompt.targets[-1][1]


def along(prompt: Prompt) -> list[str]:
    """What is said before the end."""
    assert [offset for offset, _ in prompt.targets] == sorted({o for o, _ in prompt.targets})
    return [word for _, word in prompt.targets[:-1]]


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


def marked(prompt: Prompt, feature: str) -> dict[str, str]:
    return {
        prompt.text[m.start : m.end]: m.values[feature] for m in prompt.marks if feature in m.values
    }


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
    lengths = Counter()
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


def test_reviews() -> None:
    polarity = {
        word: 1 if name == "positive" else -1
        for name, blocks in JUDGEMENTS.items()
        for block in blocks
        for word in block
    }
    assert len(polarity) == 60
    negations = Counter()
    for prompt in prompts("reviews"):
        found = re.findall(r"The \w+ was (not )?(\w+)\.", prompt.text)
        score = sum(-polarity[word] if negated else polarity[word] for negated, word in found)
        assert len(found) == 3
        assert said(prompt) == ("good" if score > 0 else "bad")
        each = [(polarity[word] > 0) != bool(negated) for negated, word in found]
        assert along(prompt) == ["good" if good else "bad" for good in (*each, score > 0)]
        assert prompt.values["sentiment"] == ("positive" if score > 0 else "negative")
        assert marked(prompt, "summary_sentiment") == {",": prompt.values["sentiment"]}
        negations.update(bool(negated) for negated, _ in found)
    assert 0.2 < negations[True] / negations.total() < 0.4


@pytest.mark.parametrize("opposed", [True, False])
def test_moods(opposed: bool) -> None:
    polarity = {word: name for name, blocks in TASTES.items() for block in blocks for word in block}
    assert len(polarity) == 40
    first = Counter()
    same = 0
    for prompt in prompts("moods", opposed=opposed):
        tastes = dict(re.findall(r"\b([A-Z]\w+) (\w+) \w+\.", prompt.text))
        scene = prompt.text.split(".")[2]
        (asked,) = (name for name in tastes if name in scene)
        assert len(tastes) == 2 and prompt.values["sentiment"] == polarity[tastes[asked]]
        assert said(prompt) == {"positive": "good", "negative": "bad"}[polarity[tastes[asked]]]
        same += len({polarity[verb] for verb in tastes.values()}) == 1
        good = {verb: "good" if polarity[verb] == "positive" else "bad" for verb in polarity}
        each = [good[verb] for verb in tastes.values()]
        assert along(prompt) == [*each, tastes[asked], good[tastes[asked]]]
        assert marked(prompt, "summary_sentiment") == {",": prompt.values["sentiment"]}
        first[list(tastes).index(asked)] += 1
    assert min(first.values()) > 150
    assert same == 0 if opposed else 150 < same < 250


@pytest.mark.parametrize("people", [2, 4])
def test_moods_of_several_people_and_scenes(people: int) -> None:
    polarity = {word: name for name, blocks in TASTES.items() for block in blocks for word in block}
    said_as = {"positive": "good", "negative": "bad"}
    for prompt in prompts("moods", people=people, scenes=4):
        *told, scenes = prompt.text.split(".", people)
        tastes = dict(re.search(r"(\w+) (\w+)", sentence).groups() for sentence in told)
        named = [word for word in re.findall(r"\w+", scenes) if word in tastes]
        assert len(tastes) == people and len(named) == 4
        felt = said_as[polarity[tastes[named[-1]]]]
        verbs = [tastes[name] for name in named]
        assert [word for _, word in prompt.targets][people:] == [*verbs, felt, felt]


def fits(task: str, given: str, got: str) -> bool:
    """Whether a pair can be an example of a function, by spelling."""
    if task == "capitalise":
        return got == given[0].upper() + given[1:]
    if task == "first_letter":
        return got == given[0]
    if task == "copy":
        return got == given
    if task == "plural":
        return got == given + "s" or got == "leaves"
    if task == "gerund":
        return got.endswith("ing") and got[0] == given[0]
    return got != given and (task == "antonym" or (got[0] == given[0] and got[-3:] != "ing"))


@pytest.mark.parametrize("count", [1, 4])
def test_functions(count: int) -> None:
    rules = ("capitalise", "first_letter", "copy", "plural", "gerund", "past", "antonym")
    signs = {"Input", "output", "from", "to", "becomes", "Q", "A", "give", "get", "in", "out"}
    for prompt in prompts("functions", demonstrations=count):
        task = prompt.values["task"]
        content = [w for w in re.findall(r"\w+", prompt.text) if w not in signs]
        assert len(content) == 2 * count + 1
        pairs = [*zip(content[0::2], [*content[1::2], said(prompt)], strict=True)]
        assert all(fits(task, given, got) for given, got in pairs), prompt
        fitting = [r for r in rules if all(fits(r, given, got) for given, got in pairs)]
        assert fitting[0] == task or task == "antonym"
        assert len({given for given, _ in pairs}) == len(pairs)
        if task == "antonym":
            assert not {given for given, _ in pairs} & {got for _, got in pairs}
        assert along(prompt) == [got for _, got in pairs[1:-1]]
        assert prompt.values.get("output") == (said(prompt) if task == "first_letter" else None)


@pytest.mark.parametrize(("shared", "queries", "n_labels"), [(1, 1, 4), (2, 4, 4), (3, 2, 10)])
def test_few_shot(shared: int, queries: int, n_labels: int) -> None:
    seen = set()
    for prompt in prompts("few_shot", shared=shared, queries=queries, labels=n_labels):
        full = f"{prompt.text} {said(prompt)}."
        rows = [match.split() for match in re.findall(r"(\w+ \w+ \w+): ", full)]
        labels = re.findall(r": (\w+)\.", full)
        assert len(rows) == len(labels) == 4 + queries and len(set(labels[:4])) == 4
        seen.update(labels)
        for query, label in zip(rows[4:], labels[4:], strict=True):
            common = [sum(a == b for a, b in zip(query, row, strict=True)) for row in rows[:4]]
            assert sorted(common) == [0, 0, 0, shared]
            assert label == labels[common.index(shared)]
        shown = set().union(*rows[:4])
        wanted = []
        for query, label in zip(rows[4:], labels[4:], strict=True):
            first = min(place for place, stroke in enumerate(query) if stroke in shown)
            wanted += [label] * (3 - first + 1)  # at each stroke from there on, and at the end
        assert [word for _, word in prompt.targets] == wanted
        assert prompt.values == {
            "label": label,
            "demonstration": f"number {labels.index(label) + 1}",
        }
        similar = {prompt.text[: m.end].count(":"): m.values["similar"] for m in prompt.marks}
        assert similar[labels.index(label) + 1] == "yes" and max(similar) <= 4
        assert sorted(similar.values()) == ["no", "yes"]
    assert len(seen) == n_labels


def test_ioi() -> None:
    from probes.corpora.generated.ioi import NAMES

    for prompt in prompts("ioi"):
        named = [word for word in re.findall(r"\w+", prompt.text) if word in NAMES]
        once, twice = sorted(Counter(named), key=named.count)
        assert (named.count(once), named.count(twice)) == (1, 2) and named[2] == twice
        assert said(prompt) == prompt.values["indirect_object"] == once
        assert prompt.values["subject"] == twice
        assert prompt.values["order"] == ("object first" if named[0] == once else "subject first")
        (mark,) = prompt.marks
        assert mark.start == prompt.text.rindex(twice) and mark.values["repeated"] == twice


@pytest.mark.parametrize("count", [2, 3, 4])
def test_coloured_objects(count: int) -> None:
    for prompt in prompts("coloured_objects", objects=count):
        listed, question = prompt.text.split(".")
        pairs = {thing: colour for colour, thing in re.findall(r"\ba (\w+) (\w+)", listed)}
        assert len(pairs) == count == len(set(pairs.values()))
        (asked,) = (thing for thing in pairs if re.search(rf"\b{thing}\b", question))
        assert said(prompt) == prompt.values["colour"] == pairs[asked]
        assert marked(prompt, "own_colour") == pairs
        assert prompt.values["place"] == f"number {list(pairs).index(asked) + 1}"


def test_coloured_objects_with_several_questions() -> None:
    for prompt in prompts("coloured_objects", questions=4):
        pairs = {thing: colour for colour, thing in re.findall(r"\ba (\w+) (\w+)", prompt.text)}
        asked = [word for word in re.findall(r"\w+", prompt.text) if word in pairs][3:]
        assert len(asked) == 4
        assert [word for _, word in prompt.targets] == [pairs[thing] for thing in asked]


def test_word_relations() -> None:
    sorts = {"part": set(), "usage": set(), "category": set()}
    for block in THINGS:
        for _, related in block:
            for sort, found in related.items():
                sorts[sort].update(found)
    assert not sorts["part"] & sorts["usage"] and not sorts["usage"] & sorts["category"]
    things = {thing: related for block in THINGS for thing, related in block}
    assert len(things) == 40 and not set(things) & set().union(*sorts.values())
    for prompt in prompts("word_relations"):
        ((thing, relation),) = marked(prompt, "relation").items()
        a, b, c = re.search(r"(\w+), (\w+), (\w+)\.", prompt.text).groups()
        assert Counter(s for w in (a, b, c) for s in sorts if w in sorts[s]).total() == 3
        fitting = [(s, w) for s, found in things[thing].items() for w in (a, b, c) if w in found]
        ((sort, word),) = fitting
        assert relation == prompt.values["related_by"] == sort
        assert prompt.values["place"] == f"number {(a, b, c).index(word) + 1}"
        assert said(prompt) == {"part": "part", "usage": "use", "category": "kind"}[sort]
        assert along(prompt) == [said(prompt)]


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
    lengths = defaultdict(Counter)
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


def test_languages() -> None:
    meaning = {word: colour for colour, forms in COLOURS.items() for word in forms}
    assert len(meaning) == 24
    asks = {"What": "English", "Welche": "German", "De": "French", "¿De": "Spanish"}
    articles = {"The": "English", "Le": "French", "El": "Spanish"}
    seen = Counter()
    for prompt in prompts("languages", 800):
        told, rest = prompt.text.split(".", 1)
        questions = dict(re.findall(r"(\w+): (¿?\w+)[^?]+\?", rest))
        asked = {name: asks[word] for name, word in questions.items()}
        reply = rest.rsplit("?", 1)[1]
        (person,) = (name for name in asked if re.search(rf"\b{name}\b", reply))
        assert len(set(asked.values())) == 4
        assert prompt.values["language"] == asked[person]
        assert prompt.values["statement_language"] == articles.get(told.split()[0], "German")
        assert prompt.values["meaning"] == meaning[said(prompt)] == meaning[told.split()[-1]]
        assert COLOURS[prompt.values["meaning"]][LANGUAGES.index(asked[person])] == said(prompt)
        column = COLOURS[prompt.values["meaning"]]
        told = [column[LANGUAGES.index(language)] for language in asked.values()]
        assert along(prompt) == [*told, asked[person]]
        seen[list(asked).index(person)] += 1
    assert len(seen) == 4 and min(seen.values()) > 150


def test_languages_of_few_or_many_people() -> None:
    seen = {2: 0, 3: 0, 4: 0}
    for prompt in prompts("languages", fewest=2):
        seen[len(re.findall(r"\w+: ¿?\w+[^?]+\?", prompt.text))] += 1
    assert min(seen.values()) > 100
    (three,) = {
        len(re.findall(r"\w+: ¿?\w+[^?]+\?", prompt.text))
        for prompt in prompts("languages", people=3)
    }
    assert three == 3, "all of them, if fewer than the usual are asked for"


def test_languages_of_several_replies() -> None:
    asks = {"What": 0, "Welche": 1, "De": 2, "¿De": 3}
    for prompt in prompts("languages", replies=4):
        asked = {n: asks[w] for n, w in re.findall(r"(\w+): (¿?\w+)[^?]+\?", prompt.text)}
        replies = prompt.text.rsplit("?", 1)[1]
        people = [word for word in re.findall(r"\w+", replies) if word in asked]
        column = COLOURS[prompt.values["meaning"]]
        assert len(people) == 4
        wanted = [column[language] for language in asked.values()]
        for name in people:
            wanted += [LANGUAGES[asked[name]], column[asked[name]]]
        assert [word for _, word in prompt.targets] == wanted
