"""Order, length, place and depth of words: labels worked out again from the texts."""

from __future__ import annotations

import calendar
import re
from collections import Counter

import pytest

from probes.corpora.generated.structure import WORDS
from tests.corpora.generated.reading import lag, marked_words, prompts, words


def test_structure() -> None:
    rank = {name: i for i, name in enumerate(_ranks())}
    for prompt in prompts("structure", 200, seed=0):
        said = words(prompt.text)
        body = [word for word in said[:-1] if word != "."]
        rarest = max(body, key=rank.__getitem__)
        assert prompt.values["answer"] == rarest == prompt.targets[-1][1]
        assert body.count(rarest) == 1
        for index, values in marked_words(prompt):
            before = said[:index]
            low, high = map(int, values["position"].split("-"))
            assert low <= index <= high
            start = len(before) - before[::-1].index(".") if "." in before else 0
            assert values["sentence_start_distance"] == str(min(index - start, 6))
            assert values.get("previous_word", said[index - 1]) == said[index - 1]
            seen = said[index] in before
            assert values.get("duplicate", "yes" if seen else "no") == ("yes" if seen else "no")
            assert ("duplicate_distance" in values) == seen
            if seen:
                bounds = [
                    int(number) for number in re.findall(r"\d+", values["duplicate_distance"])
                ]
                assert bounds[0] <= lag(said, index) <= ([*bounds, 99])[1]
            if "rarest_so_far" in values:
                low, high = map(int, values["rarest_so_far"].removeprefix("rank ").split("-"))
                assert low <= max(rank[w] for w in [*before, said[index]] if w != ".") + 1 <= high
                assert rank[said[index]] < 28


def _ranks() -> list[str]:
    assert len(set(WORDS)) == len(WORDS) == 46
    return WORDS


def test_subwords() -> None:
    sizes = {"tiny": range(1, 4), "short": range(4, 7), "long": range(7, 10), "huge": range(10, 99)}
    names = {"1-3": "tiny", "4-6": "short", "7-9": "long", "10 or more": "huge"}
    for prompt in prompts("subwords", 200, seed=0):
        asked = words(prompt.text)[-2]
        assert len(asked) in sizes[prompt.values["answer"]]
        assert asked in words(prompt.text)[:-5]
        for mark in prompt.marks:
            assert mark.end - mark.start in sizes[names[mark.values["word_length"]]]
            assert prompt.text[mark.start : mark.end] in prompt.group.split()


def test_succession() -> None:
    kinds: Counter[str] = Counter()
    for prompt in prompts("succession", 400, seed=0):
        for offset, word in prompt.targets:
            said = words(prompt.text[:offset])
            [element] = [w for w in said[_sentence(said) :] if _next(w)]
            assert _next(element) == word
        assert prompt.values["kind"] == _kind(element)
        kinds[_kind(element)] += 1
        if _kind(element) == "number":
            assert prompt.values["modulo_10"] == str((int(element) + 1) % 10)
            assert prompt.group == element
        else:
            assert prompt.values["successor"] == word
            assert element not in prompt.group.split()
    assert min(kinds.values()) > 0.1 * kinds.total()


def _sentence(said: list[str]) -> int:
    return len(said) - said[::-1].index(".") if "." in said else 0


def _kind(word: str) -> str:
    names = {"day": list(calendar.day_name), "month": list(calendar.month_name)}
    found = [kind for kind, of_kind in names.items() if word in of_kind]
    return found[0] if found else "number" if word.isdigit() else "letter"


def _next(word: str) -> str | None:
    """What comes after an ordinal word; None for other words."""
    if word in list(calendar.day_name):
        return calendar.day_name[(list(calendar.day_name).index(word) + 1) % 7]
    if word in list(calendar.month_name):
        return calendar.month_name[list(calendar.month_name).index(word) % 12 + 1]
    if word.isdigit():
        return str(int(word) + 1)
    return chr(ord(word) + 1) if len(word) == 1 and word.isupper() else None


@pytest.mark.parametrize("automaton", ["parity", "modulo_3", "permutation", "flip_flop"])
def test_iteration(automaton: str) -> None:
    for prompt in prompts("iteration", 200, seed=0, automaton=automaton):
        read, said = (part.split() for part in prompt.text.split(" : "))
        states = [_state(automaton, read[:steps]) for steps in range(len(read) + 1)]
        assert said == states[:-1]
        assert [word for _, word in prompt.targets] == states[1:]
        assert prompt.values["final_state"] == states[-1]
        assert [values for _, values in marked_words(prompt)] == [
            {"state": state, "step_input": symbol}
            for state, symbol in zip(states[1:], read, strict=True)
        ]


def _state(automaton: str, read: list[str]) -> str:
    """The state after some inputs, without a table of transitions."""
    if automaton == "parity":
        return ("even", "odd")[read.count("b") % 2]
    if automaton == "modulo_3":
        return ("zero", "one", "two")[(read.count("b") + 2 * read.count("c")) % 3]
    if automaton == "flip_flop":
        set_by = [symbol for symbol in read if symbol != "a"]
        return "on" if set_by and set_by[-1] == "c" else "off"
    places = ["left", "middle", "right"]
    at = "left"
    for symbol in read:
        if symbol == "a":
            at = {"left": "middle", "middle": "left", "right": "right"}[at]
        else:
            at = places[(places.index(at) + 1) % 3]
    return at


@pytest.mark.parametrize("questions", [1, 4])
def test_needle(questions: int) -> None:
    for prompt in prompts("needle", 200, seed=0, questions=questions):
        body, question = prompt.text.split(" question : ")
        facts = re.findall(r"(\w+) holds the (\w+)\.", body)
        *answered, asked = re.findall(r"(\w+) holds the( \w+)?", question)
        assert len(answered) == questions - 1
        assert all(dict(facts)[name] == thing.strip() for name, thing in answered)
        assert [word for _, word in prompt.targets] == [
            dict(facts)[name] for name, _ in [*answered, asked] for _ in ("at the name", "due")
        ]
        assert len(facts) == len(dict(facts)) == len({thing for _, thing in facts}) == 3
        person = asked[0]
        assert dict(facts)[person] == prompt.values["needle"] == prompt.targets[-1][1]
        assert prompt.group == person
        filler = [s for s in body.split(".") if "holds" not in s]
        before = body[: body.index(f"{person} holds")].split(".")
        share = sum("holds" not in s and bool(s.strip()) for s in before) / (len(filler) - 1)
        assert abs(share - int(prompt.values["depth"]) / 100) <= 0.5 / (len(filler) - 1) + 1e-9
        assert int(prompt.values["length"]) - 12 < len(words(prompt.text))
        assert len(words(prompt.text)) <= int(prompt.values["length"])


def test_acronyms() -> None:
    for prompt in prompts("acronyms", 200, seed=0):
        name, written = prompt.text.removeprefix("the ").split(" : ")
        initials = [word[0] for word in name.split()]
        assert written.split() == initials[:-1]
        assert [word for _, word in prompt.targets] == initials
        assert prompt.values == {"answer": initials[-1]}
        assert [values["next_letter"] for _, values in marked_words(prompt)] == initials
        first = dict(prompt.marks[0].values)
        assert [first[f"letter_{place}"] for place in (1, 2, 3)] == initials
        assert set(name.split()) <= set(prompt.group.split())
