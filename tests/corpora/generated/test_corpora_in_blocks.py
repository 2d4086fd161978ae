"""Generated corpora with templates and entities dealt to blocks: what holds for all of them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from probes.config import GeneratedConfig, SplitConfig
from probes.core.errors import UserError
from probes.corpora.corpus import TEST, TRAIN, VALIDATION, Corpus
from probes.corpora.generated import generate, load
from probes.corpora.generated.kit.prompt import Prompt
from probes.corpora.splits import assign_splits
from probes.corpora.tasks import make_task

CONF = Path(__file__).resolve().parents[3] / "conf" / "corpus"
EVEN = {
    "facts": ["relation", "attribute", "continent", "category", "language", "currency"],
    "choices": ["correct_letter", "all_present", "option_letter", "option_is_correct"],
    "binary": ["truth", "answer_word", "question"],
    "reviews": ["sentiment", "summary_sentiment", "judgement"],
    "moods": ["sentiment", "summary_sentiment", "judgement"],
    "functions": ["task", "output"],
    "few_shot": ["label", "demonstration", "similar"],
    "ioi": ["indirect_object", "subject", "order", "repeated"],
    "coloured_objects": ["colour", "own_colour", "place"],
    "word_relations": ["relation", "related_by", "place"],
    "consistency": ["answer", "wording"],
    "insertion": ["answer", "inserted"],
    "faithfulness": ["source", "answer_source"],
    "languages": ["language", "meaning", "statement_language"],
}
"""Task -> its features whose classes are meant to be equally frequent."""
TASKS = list(EVEN)
OPTIONS: dict[str, dict[str, list[Any]]] = {
    "facts": {"hold_out": ["template"]},
    "functions": {"demonstrations": [1, 2]},
    "moods": {"opposed": [False], "people": [4], "scenes": [3]},
    "languages": {"people": [2], "fewest": [2], "replies": [3]},
    "few_shot": {"shared": [1, 3], "queries": [1, 8], "labels": [10]},
    "ioi": {"names": [6]},
    "coloured_objects": {"objects": [2, 4], "questions": [5]},
    "consistency": {"wordings": [2, 10]},
}
"""Task -> option -> values beside the default."""
JUDGED = {"binary", "choices", "reviews", "moods", "word_relations", "faithfulness", "languages"}
JUDGED |= {"few_shot"}
"""Tasks in which a model says what it makes of the text so far, and the text goes on otherwise."""
CASES: list[tuple[str, dict[str, Any]]] = [(task, {}) for task in TASKS] + [
    (task, {option: value})
    for task, options in OPTIONS.items()
    for option, values in options.items()
    for value in values
]


def config(task: str, options: dict[str, Any] | None = None, seed: int = 0) -> GeneratedConfig:
    examples = OmegaConf.load(CONF / f"{task}.yaml").examples
    return GeneratedConfig(name=task, examples=examples, seed=seed, options=options or {})


@cache
def prompts(task: str) -> tuple[Prompt, ...]:
    return tuple(islice(generate(config(task)).prompts, 2000))


@cache
def corpus(task: str) -> Corpus:
    return assign_splits(load(config(task)), SplitConfig())


def words(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text)


@pytest.mark.parametrize(("task", "options"), CASES)
def test_the_seed_decides_everything(task: str, options: dict[str, Any]) -> None:
    first, again, other = (
        list(islice(generate(config(task, options, seed)).prompts, 50)) for seed in (3, 3, 4)
    )
    assert first == again
    assert {p.text for p in first} != {p.text for p in other}


@pytest.mark.parametrize("task", TASKS)
def test_words_are_few_and_known_to_every_seed(task: str) -> None:
    def vocabulary(prompts: tuple[Prompt, ...]) -> set[str]:
        return {word for p in prompts for word in words(p.text)} | {
            word for p in prompts for _, word in p.targets
        }

    many = tuple(islice(generate(config(task)).prompts, 6000))
    seen = vocabulary(many)
    other = tuple(islice(generate(config(task, seed=99)).prompts, 300))
    assert len(seen) < 1000
    assert vocabulary(other) <= seen
    assert max(len(words(p.text)) for p in prompts(task)) < 64


@pytest.mark.parametrize(("task", "options"), CASES)
def test_marks_and_targets_stand_at_words(task: str, options: dict[str, Any]) -> None:
    for prompt in islice(generate(config(task, options)).prompts, 200):
        bounds = {m.span() for m in re.finditer(r"\w+|[^\w\s]", prompt.text)}
        assert all((mark.start, mark.end) in bounds for mark in prompt.marks)
        assert prompt.text == prompt.text.strip() and "  " not in prompt.text
        assert [offset for offset, _ in prompt.targets][-1] == len(prompt.text)
        for offset, word in prompt.targets:
            assert words(word) == [word]
            if task not in JUDGED and offset < len(prompt.text):
                assert prompt.text[offset:].startswith(f" {word}")


@pytest.mark.parametrize(("task", "options"), CASES)
def test_features_can_be_probed(task: str, options: dict[str, Any]) -> None:
    found = corpus(task) if not options else load(config(task, options))
    found = found if not options else assign_splits(found, SplitConfig())
    units = np.arange(len(found.units))
    assert found.default_features == generate(config(task, options)).default_features
    for name in found.features:
        task_of = make_task(found, name, units, min_count=10)
        assert found.features[name].description, name
        assert not task_of.dropped, name
        assert (task_of.counts(TEST) > 0).all() and (task_of.counts(VALIDATION) > 0).all(), name


@pytest.mark.parametrize("task", TASKS)
def test_groups_stay_on_one_side(task: str) -> None:
    found, sides = corpus(task), defaultdict(set)
    for group, split in zip(found.groups, found.splits.tolist(), strict=True):
        sides[group].add(split)
    assert len(sides) > 50 and all(len(side) == 1 for side in sides.values())


@pytest.mark.parametrize("task", TASKS)
def test_blocks_stay_on_one_side(task: str) -> None:
    found = corpus(task)
    side = dict(zip(found.texts, found.splits.tolist(), strict=True))
    sides: defaultdict[int | None, set[int]] = defaultdict(set)
    for prompt in generate(config(task)).take(len(found.texts)):
        sides[prompt.block].add(side[prompt.text])
    assert set(sides) == set(range(10))
    assert all(len(parts) == 1 for parts in sides.values())
    assert set.union(*sides.values()) == {TRAIN, VALIDATION, TEST}
    assert set().union(*sides.values()) == {TRAIN, VALIDATION, TEST}
    assert max(Counter(found.groups).values()) < 1.15 * len(found.groups) / 10


@pytest.mark.parametrize(("task", "feature"), [(t, f) for t in TASKS for f in EVEN[t]])
def test_classes_are_equally_frequent(task: str, feature: str) -> None:
    if feature == "attribute":  # as even as the relations it is made of
        counts = Counter(p.values.get("relation") for p in prompts(task))
    else:
        counts = Counter(
            values[feature]
            for p in prompts(task)
            for values in (p.values, *(mark.values for mark in p.marks))
            if feature in values
        )
    expected = sum(counts.values()) / len(counts)
    assert len(counts) > 1
    assert all(abs(n - expected) < 6 * expected**0.5 for n in counts.values()), counts


@pytest.mark.parametrize(
    ("task", "first", "second"),
    [
        ("binary", "truth", "answer_word"),
        ("ioi", "order", "subject"),
        ("few_shot", "label", "demonstration"),
        ("coloured_objects", "colour", "place"),
        ("word_relations", "related_by", "place"),
        ("consistency", "answer", "wording"),
        ("insertion", "answer", "inserted"),
        ("languages", "language", "statement_language"),
        ("languages", "language", "meaning"),
        ("choices", "correct_letter", "all_present"),
    ],
)
def test_features_that_must_not_stand_for_each_other(task: str, first: str, second: str) -> None:
    pairs = Counter((p.values[first], p.values[second]) for p in prompts(task))
    rows, columns = ({pair[i] for pair in pairs} for i in (0, 1))
    expected = sum(pairs.values()) / (len(rows) * len(columns))
    assert all(
        abs(pairs[row, column] - expected) < 6 * expected**0.5 for row in rows for column in columns
    )


@pytest.mark.parametrize("task", TASKS)
def test_unknown_option_lists_options(task: str) -> None:
    allowed = f"allowed: {next(iter(OPTIONS[task]))}=" if task in OPTIONS else "allowed: none"
    with pytest.raises(UserError, match=rf"corpus\.options\.strange: .*{allowed}"):
        load(config(task, {"strange": 1}))


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("facts", {"hold_out": "subjekt"}, r"allowed: subject, template.*hold_out=subject"),
        ("functions", {"demonstrations": 0}, r"demonstrations=0; allowed: 1 to \d"),
        ("few_shot", {"shared": 4}, r"shared=4; allowed: 1 to 3"),
        ("few_shot", {"queries": 0}, r"queries=0; allowed: 1 to 8"),
        ("few_shot", {"labels": 3}, r"labels=3; allowed: 4 to 10"),
        ("languages", {"people": 5}, r"people=5; allowed: 2 to 4"),
        ("languages", {"fewest": 1}, r"fewest=1; allowed: 2 to 4"),
        ("languages", {"replies": 0}, r"replies=0; allowed: 1 to 8"),
        ("moods", {"people": 5}, r"people=5; allowed: 2 to 4.*people=2"),
        ("moods", {"scenes": 0}, r"scenes=0; allowed: 1 or more"),
        ("ioi", {"names": 13}, r"names=13; allowed: 2 to 12"),
        ("ioi", {"names": "two"}, r"names='two'; allowed: a value like 12"),
        ("coloured_objects", {"objects": 5}, r"objects=5; allowed: 2 to 4"),
        ("coloured_objects", {"questions": 9}, r"questions=9; allowed: 1 to 8"),
        ("consistency", {"wordings": 1}, r"wordings=1; allowed: 2 to 10"),
    ],
)
def test_values_out_of_range(task: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(config(task, options))


def test_more_than_there_are() -> None:
    asked = config("ioi", {"names": 2})
    there_are = 2 * 2 * 9 * 10  # who gives, who is first, place and object, block
    asked.examples = there_are + 1
    with pytest.raises(UserError, match=rf"only {there_are} different.*examples={there_are}"):
        load(asked)


@pytest.mark.parametrize("task", TASKS)
def test_file_gives_the_defaults(task: str) -> None:
    file: Any = OmegaConf.load(CONF / f"{task}.yaml")
    options = OmegaConf.to_container(file.get("options", OmegaConf.create({})))
    assert file.name == task and file.seed == 0 and file.examples >= 2000
    assert set(options) == set(OPTIONS.get(task, {}))  # type: ignore[arg-type]
    plain = list(islice(generate(config(task)).prompts, 20))
    assert plain == list(islice(generate(config(task, options)).prompts, 20))  # type: ignore[arg-type]
