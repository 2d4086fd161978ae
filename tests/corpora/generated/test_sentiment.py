"""Reviews and mood stories: sentiments worked out again from the texts alone."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from probes.corpora.generated.moods import TASTES
from probes.corpora.generated.reviews import JUDGEMENTS
from tests.corpora.generated.reading import along, marked, prompts, said


def test_reviews() -> None:
    polarity = {
        word: 1 if name == "positive" else -1
        for name, blocks in JUDGEMENTS.items()
        for block in blocks
        for word in block
    }
    assert len(polarity) == 60
    negations: Counter[bool] = Counter()
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
    first: Counter[int] = Counter()
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
        tastes = dict(re.findall(r"(\w+) (\w+)", sentence)[0] for sentence in told)
        named = [word for word in re.findall(r"\w+", scenes) if word in tastes]
        assert len(tastes) == people and len(named) == 4
        felt = said_as[polarity[tastes[named[-1]]]]
        verbs = [tastes[name] for name in named]
        assert [word for _, word in prompt.targets][people:] == [*verbs, felt, felt]
