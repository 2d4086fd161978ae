"""Names, objects, word relations and languages: answers worked out again from the texts."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from probes.corpora.generated.ioi import NAMES
from probes.corpora.generated.languages import COLOURS, LANGUAGES
from probes.corpora.generated.word_relations import THINGS
from tests.corpora.generated.reading import along, marked, prompts, said


def test_ioi() -> None:
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
    sorts: dict[str, set[str]] = {"part": set(), "usage": set(), "category": set()}
    for block in THINGS:
        for _, related in block:
            for sort, found in related.items():
                sorts[sort].update(found)
    assert not sorts["part"] & sorts["usage"] and not sorts["usage"] & sorts["category"]
    things = {thing: related for block in THINGS for thing, related in block}
    assert len(things) == 40 and not set(things) & set().union(*sorts.values())
    for prompt in prompts("word_relations"):
        ((thing, relation),) = marked(prompt, "relation").items()
        ((a, b, c),) = re.findall(r"(\w+), (\w+), (\w+)\.", prompt.text)
        assert Counter(s for w in (a, b, c) for s in sorts if w in sorts[s]).total() == 3
        fitting = [(s, w) for s, found in things[thing].items() for w in (a, b, c) if w in found]
        ((sort, word),) = fitting
        assert relation == prompt.values["related_by"] == sort
        assert prompt.values["place"] == f"number {(a, b, c).index(word) + 1}"
        assert said(prompt) == {"part": "part", "usage": "use", "category": "kind"}[sort]
        assert along(prompt) == [said(prompt)]


def test_languages() -> None:
    meaning = {word: colour for colour, forms in COLOURS.items() for word in forms}
    assert len(meaning) == 24
    asks = {"What": "English", "Welche": "German", "De": "French", "¿De": "Spanish"}
    articles = {"The": "English", "Le": "French", "El": "Spanish"}
    seen: Counter[int] = Counter()
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
        hints = [column[LANGUAGES.index(language)] for language in asked.values()]
        assert along(prompt) == [*hints, asked[person]]
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
