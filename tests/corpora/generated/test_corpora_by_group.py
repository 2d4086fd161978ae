"""Generated corpora that are split by group: what holds for all of them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from functools import cache
from importlib import import_module
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
ANSWERS = {
    "induction": "answer",
    "markov": "answer",
    "key_value": "answer",
    "structure": "answer",
    "subwords": "answer",
    "succession": "successor",
    "iteration": "final_state",
    "needle": "needle",
    "acronyms": "answer",
}
"""Task -> the feature at END that is its answer."""
TINY: dict[str, dict[str, Any]] = {
    "induction": {"symbols": 2, "cycle": 2, "length": 4, "chunk": 2},
    "markov": {"states": 3, "branching": 0, "successors": 2, "length": 6},
    "key_value": {"keys": 2, "pairs": 2, "questions": 1},
    "iteration": {"length": 3},
}
"""Options with which a task has few examples; the other tasks have thousands at least."""
EVIDENT = {("induction", "token"), ("markov", "state")}
"""Features that the word itself says, as their names do."""
AHEAD = {"needle"}
"""Tasks in which an answer is expected before the text goes on with it."""


def config(task: str, seed: int = 0, **options: Any) -> GeneratedConfig:
    return GeneratedConfig(name=task, examples=1000, seed=seed, options=options)


@cache
def prompts(task: str, seed: int = 0) -> tuple[Prompt, ...]:
    return tuple(generate(config(task, seed)).take(1000))


@cache
def corpus(task: str) -> Corpus:
    return assign_splits(load(config(task)), SplitConfig())


def vocabulary(found: tuple[Prompt, ...]) -> set[str]:
    texts = [p.text for p in found] + [word for p in found for _, word in p.targets]
    return {word for text in texts for word in re.findall(r"\w+|[^\w\s]", text)}


@pytest.mark.parametrize("task", ANSWERS)
class TestPrompts:
    def test_a_seed_repeats_itself_and_another_differs(self, task: str) -> None:
        again = list(islice(generate(config(task)).prompts, 50))
        assert again == list(islice(generate(config(task)).prompts, 50))
        other = islice(generate(config(task, seed=1)).prompts, 50)
        assert len({p.text for p in again} & {p.text for p in other}) < 10

    def test_more_examples_begin_with_the_same(self, task: str) -> None:
        assert list(prompts(task)[:20]) == generate(config(task)).take(20)

    def test_marks_and_targets_lie_on_words(self, task: str) -> None:
        for prompt in prompts(task)[:100]:
            ends = {m.end() for m in re.finditer(r"\w+|[^\w\s]", prompt.text)}
            words = {m.span() for m in re.finditer(r"\w+|[^\w\s]", prompt.text)}
            offsets = [offset for offset, _ in prompt.targets]
            assert offsets and offsets == sorted(set(offsets)) and set(offsets) <= ends
            assert offsets[-1] == len(prompt.text)
            assert {(mark.start, mark.end) for mark in prompt.marks} <= words
            for offset, word in prompt.targets[:-1]:
                following = re.findall(r"\w+|[^\w\s]", prompt.text[offset:])[0]
                assert following == word or task in AHEAD

    def test_the_answer_is_the_last_target(self, task: str) -> None:
        for prompt in prompts(task):
            assert prompt.values.get(ANSWERS[task], prompt.targets[-1][1]) == prompt.targets[-1][1]

    def test_vocabulary_is_closed_and_small_and_texts_are_short(self, task: str) -> None:
        known = vocabulary(prompts(task))
        assert len(known) < 3000
        assert vocabulary(tuple(islice(generate(config(task, seed=7)).prompts, 300))) <= known
        assert max(len(re.findall(r"\w+|[^\w\s]", p.text)) for p in prompts(task)) <= 128


@pytest.mark.parametrize("task", ANSWERS)
class TestCorpus:
    def test_default_features_exist_with_enough_rows_of_each_class(self, task: str) -> None:
        found = corpus(task)
        assert found.default_features == generate(config(task)).default_features
        for name, feature in found.features.items():
            assert feature.description
            if feature.of_rows:
                continue
            made = make_task(found, name, np.arange(len(found.units)), min_count=10)
            assert made.dropped == {}
            counts = made.counts(TRAIN) + made.counts(VALIDATION) + made.counts(TEST)
            assert counts.max() <= 4 * counts.min(), (name, made.summary())

    def test_answers_are_balanced(self, task: str) -> None:
        counts = Counter(p.values.get(ANSWERS[task]) for p in prompts(task))
        counts.pop(None, None)
        assert max(counts.values()) <= 1.2 * min(counts.values()) + 2

    def test_no_group_and_no_text_is_on_two_sides(self, task: str) -> None:
        found = corpus(task)
        assert not any("dropped" in note for note in found.notes)
        for values in (found.groups, found.texts):
            sides = defaultdict(set)
            for value, split in zip(values, found.splits, strict=True):
                sides[value].add(int(split))
            assert all(len(side) == 1 for side in sides.values())
            assert {side for each in sides.values() for side in each} == {TRAIN, VALIDATION, TEST}

    def test_the_word_alone_does_not_say_its_class(self, task: str) -> None:
        found = corpus(task)
        for name, feature in found.features.items():
            if (task, name) in EVIDENT or feature.of_rows:
                continue
            made = make_task(found, name, np.arange(len(found.units)), min_count=1)
            last = [found.unit_text(unit).split()[-1] for unit in made.rows]
            seen: defaultdict[str, Counter[int]] = defaultdict(Counter)
            for word, label, split in zip(last, made.labels, made.split, strict=True):
                if split == TRAIN:
                    seen[word][int(label)] += 1
            held_out = np.flatnonzero(made.split == TEST)
            common = int(made.counts(TRAIN).argmax())
            said = [(seen[last[i]].most_common(1) or [(common, 0)])[0][0] for i in held_out]
            right = float(np.mean(np.array(said) == made.labels[held_out]))
            chance = float(made.counts(TEST).max() / len(held_out))
            assert right <= chance + 0.08, (name, right, chance)


def test_the_config_files_hold_the_defaults() -> None:
    for task in ANSWERS:
        written: Any = OmegaConf.to_container(OmegaConf.load(CONF / f"{task}.yaml"))
        module = import_module(f"probes.corpora.generated.{task}")
        assert written["options"] == module.DEFAULTS
        assert written["name"] == task
        config_of_file = GeneratedConfig(
            name=task, examples=written["examples"], options=written["options"]
        )
        assert config_of_file.examples >= 1000
        assert next(generate(config_of_file).prompts) == prompts(task)[0]


@pytest.mark.parametrize("task", TINY)
def test_more_examples_than_there_are(task: str) -> None:
    small = GeneratedConfig(name=task, examples=300, options=TINY[task])
    with pytest.raises(UserError, match=rf"corpus\.examples=300: '{task}' has only") as caught:
        load(small)
    small.examples = int(str(caught.value).split("corpus.examples=")[-1])
    assert len(load(small).texts) == small.examples


@pytest.mark.parametrize("task", ANSWERS)
def test_unknown_option(task: str) -> None:
    module = import_module(f"probes.corpora.generated.{task}")
    listed = ", ".join(f"{key}={value}" for key, value in module.DEFAULTS.items())
    with pytest.raises(UserError, match=re.escape(listed)):
        generate(config(task, strange=1))


@pytest.mark.parametrize(
    ("task", "option", "value", "message"),
    [
        ("induction", "symbols", 8, r"cycle=16 \(with symbols=8.*allowed: 2 to 8.*cycle=8"),
        ("induction", "length", 20, r"length=20.*allowed: 32 or more.*length=32"),
        ("markov", "branching", 10, r"branching=10.*allowed: 0 to 9"),
        ("key_value", "keys", 3, r"keys=3 \(with pairs=4\).*allowed: 4 to 1000.*keys=4"),
        ("structure", "length", 500, r"length=500.*allowed: 12 to 60"),
        ("structure", "marked", 0, r"marked=0.*allowed: 1 or more"),
        ("subwords", "words", 9, r"words=9.*allowed: 2 to 8"),
        ("succession", "letters", 26, r"letters=26.*allowed: 2 to 25"),
        ("iteration", "automaton", "odd", r"automaton=odd.*parity, modulo_3, permutation"),
        ("iteration", "length", 1, r"length=1.*allowed: 2 to 1000"),
        ("needle", "lengths", [10], r"lengths=\[10\].*whole numbers from 30.*=\[60,90,120\]"),
        ("needle", "depths", [], r"depths=\[\].*whole numbers from 0 to 100"),
        ("needle", "others", 0, r"others=0.*allowed: 1 to 11"),
        ("acronyms", "words", 1, r"words=1.*allowed: 2 to 6"),
    ],
)
def test_impossible_values(task: str, option: str, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=rf"corpus\.options\.{message}"):
        generate(config(task, **{option: value}))
