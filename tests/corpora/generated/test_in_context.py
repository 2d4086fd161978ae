"""Corpora that are solved from their context alone: answers worked out again from the texts."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import pytest

from tests.corpora.generated.reading import (
    along,
    followers,
    lag,
    marked_words,
    prompts,
    said,
    words,
)


@pytest.mark.parametrize(
    ("options", "lags"), [({}, 12), ({"symbols": 64, "cycle": 24, "length": 96}, 20)]
)
def test_induction(options: dict[str, int], lags: int) -> None:
    distances: Counter[int] = Counter()
    for prompt in prompts("induction", 200, seed=0, **options):
        said = words(prompt.text)
        wanted = {len(words(prompt.text[:offset])) - 1: word for offset, word in prompt.targets}
        for index in range(len(said)):
            found = followers(said, index)
            follows = said[index + 1] if index + 1 < len(said) else prompt.values["answer"]
            if index in wanted:
                assert found == {wanted[index]} == {follows}
            # Elsewhere the context says nothing, says two things, or is wrong.
            elif len(found) == 1 and follows in found:
                assert follows not in _after(prompt.group, said[index])
            distances[lag(said, index)] += index in wanted
        for index, values in marked_words(prompt):
            assert values["token"] == said[index]
            assert values["previous_token"] == said[index - 1]
            assert followers(said, index) == {values["next_token"]}
    # No distance is frequent enough to be a rule.
    assert max(distances.values()) < 0.25 * distances.total()
    assert len(distances) > lags


def _after(cycle: str, word: str) -> set[str]:
    names = cycle.split()
    return {names[(names.index(word) + 1) % len(names)]}


def test_markov() -> None:
    for prompt in prompts("markov", 200, seed=0):
        said = words(prompt.text)
        table = dict(entry.split(">") for entry in prompt.group.split())
        assert sorted(following.count("|") for following in table.values()) == [0] * 7 + [2] * 3
        assert all(after in table[word].split("|") for word, after in pairwise(said))
        for offset, word in prompt.targets:
            index = len(words(prompt.text[:offset])) - 1
            assert table[said[index]] == word and followers(said, index) == {word}
        for index, values in marked_words(prompt):
            assert values == {"state": said[index], "next_state": table[said[index]]}
        assert prompt.values["answer"] == table[said[-1]]


def test_key_value() -> None:
    asked_before = 0
    for prompt in prompts("key_value", 200, seed=0):
        said = words(prompt.text)
        pairs = dict(zip(said[0:8:2], said[1:8:2], strict=True))
        assert len(pairs) == len(set(pairs.values())) == 4
        assert [word for _, word in prompt.targets] == [pairs[key] for key in said[8::2]]
        assert said[9::2] == [pairs[key] for key in said[8:-1:2]]
        assert prompt.group == said[-1]
        assert prompt.values["answer"] == pairs[said[-1]]
        assert list(pairs)[int(prompt.values["pair"]) - 1] == said[-1]
        asked_before += said[-1] in said[8:-3]
    # Were each key asked for once, the last answer would be the one that is left over.
    assert asked_before > 100


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
