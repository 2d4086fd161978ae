"""Labels for the rows of a cache: compared with a row-by-row oracle."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from probes.config import GrammarConfig, SplitConfig
from probes.core.errors import UserError
from probes.corpora import load_corpus
from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import DROPPED, TEST, TRAIN, VALIDATION, Corpus, Feature, Units
from probes.corpora.splits import assign_splits
from probes.corpora.tasks import Task, make_task


def toy(labels: Mapping[int, Sequence[str | None]], **other: str) -> Corpus:
    """One text of one word for each label, by split."""
    builder = CorpusBuilder("toy")
    for split, values in labels.items():
        for number, value in enumerate(values):
            text = f"Word{number} of split {split}"
            example = builder.add_text(text, group=text, split=split)
            end = text.index(" ")
            builder.add_unit(example, 0, end, "word", {"tag": value, **other})
    return builder.build()


def all_units(corpus: Corpus) -> npt.NDArray[np.intp]:
    return np.arange(len(corpus.units))


@pytest.fixture(scope="module")
def grammar() -> Corpus:
    return assign_splits(load_corpus(GrammarConfig(sentences=300)), SplitConfig())


@pytest.mark.parametrize("feature", ["upos", "number", "sentiment", "entity_type"])
@pytest.mark.parametrize("min_count", [1, 25])
def test_task_equals_row_by_row_oracle(grammar: Corpus, feature: str, min_count: int) -> None:
    units = np.random.default_rng(0).permutation(len(grammar.units))[:1500]
    found = grammar.features[feature]
    rows: list[tuple[int, str, int, str, str]] = []
    for row, unit in enumerate(units):
        if found.codes[unit] >= 0:
            example = int(grammar.units.example[unit])
            rows.append(
                (
                    row,
                    found.classes[found.codes[unit]],
                    int(grammar.splits[example]),
                    grammar.groups[example],
                    grammar.unit_text(unit).casefold(),
                )
            )
    trained = Counter(label for _, label, split, _, _ in rows if split == TRAIN)
    kept = sorted(label for label, count in trained.items() if count >= min_count)
    expected = [row for row in rows if row[1] in kept]

    task = make_task(grammar, feature, units, min_count=min_count)
    assert task.classes == tuple(kept)
    assert task.rows.tolist() == [row for row, *_ in expected]
    assert [task.classes[label] for label in task.labels] == [label for _, label, *_ in expected]
    assert task.split.tolist() == [split for _, _, split, *_ in expected]
    assert same_partition(task.groups, [group for *_, group, _ in expected])
    assert same_partition(task.types, [form for *_, form in expected])
    assert task.dropped == Counter(label for _, label, *_ in rows if label not in kept)
    assert task.counts(TRAIN).tolist() == [trained[label] for label in kept]


def same_partition(codes: np.ndarray, names: list[str]) -> bool:
    pairs = set(zip(codes.tolist(), names, strict=True))
    return len(pairs) == len(set(names)) == len(set(codes.tolist()))


def test_majority_is_chosen_on_train_and_scored_on_test() -> None:
    corpus = toy({TRAIN: ["a"] * 6 + ["b"] * 4, VALIDATION: ["a"], TEST: ["b"] * 3 + ["a"]})
    task = make_task(corpus, "tag", all_units(corpus), min_count=1)
    assert task.majority == (0, 0.25)
    assert "majority 'a' 0.250" in task.summary()


def test_class_absent_from_training_is_dropped_and_reported() -> None:
    corpus = toy(
        {TRAIN: ["a"] * 5 + ["b"] * 5, VALIDATION: ["a", "b"], TEST: ["a", "b", "new", "new"]}
    )
    task = make_task(corpus, "tag", all_units(corpus), min_count=1)
    assert task.classes == ("a", "b")
    assert task.dropped == {"new": 2}
    assert task.dropped_in_train == {"new": 0}, "the count that the rule uses"
    assert "new (0)" in task.summary()
    assert (task.split == TEST).sum() == 2


def test_rows_without_value_and_dropped_examples_are_absent() -> None:
    corpus = toy({TRAIN: ["a", "b", None], VALIDATION: ["a"], TEST: ["b"], DROPPED: ["a", "b"]})
    task = make_task(corpus, "tag", all_units(corpus), min_count=1)
    assert task.rows.tolist() == [0, 1, 3, 4]


def test_types_ignore_case_and_groups_share_codes_between_tasks(grammar: Corpus) -> None:
    units = all_units(grammar)
    words, numbers = (make_task(grammar, f, units, min_count=1) for f in ("upos", "number"))
    shared = np.isin(words.rows, numbers.rows)
    assert (words.groups[shared] == numbers.groups).all()
    the = [i for i, row in enumerate(words.rows) if grammar.unit_text(units[row]) in ("The", "the")]
    assert len({words.types[i] for i in the}) == 1


@pytest.mark.parametrize(
    ("labels", "min_count", "message"),
    [
        ({TRAIN: ["a"] * 9, VALIDATION: ["a"], TEST: ["a"]}, 1, r"1 of 1 classes"),
        ({TRAIN: ["a", "a", "b"], VALIDATION: ["a"], TEST: ["b"]}, 2, r"min_count=1"),
        ({TRAIN: ["a", "b"], VALIDATION: ["a"], TEST: [None]}, 1, r"no test row has a value"),
        ({TRAIN: ["a", "b"], VALIDATION: [None], TEST: ["a"]}, 1, r"no validation row"),
        ({TRAIN: [None], VALIDATION: ["a"], TEST: ["b"]}, 1, r"in train: none"),
    ],
)
def test_labels_that_cannot_be_probed(
    labels: dict[int, list[str | None]], min_count: int, message: str
) -> None:
    corpus = toy(labels)
    with pytest.raises(UserError, match=message):
        make_task(corpus, "tag", all_units(corpus), min_count=min_count)


def test_one_class_suggests_another_feature() -> None:
    corpus = toy({TRAIN: ["a", "b"], VALIDATION: ["a"], TEST: ["b"]}, constant="x")
    with pytest.raises(UserError, match=r"Try features=\[tag\]"):
        make_task(corpus, "constant", all_units(corpus), min_count=1)


def test_unknown_feature(grammar: Corpus) -> None:
    with pytest.raises(UserError, match=r"no feature 'upso'.*upos, .*Try features=\[upos\]"):
        make_task(grammar, "upso", all_units(grammar), min_count=1)


def test_feature_of_units_that_the_rows_do_not_hold(grammar: Corpus) -> None:
    words = np.flatnonzero(grammar.units.level == 0)
    with pytest.raises(UserError, match=r"belongs to sentence units, and the rows hold word"):
        make_task(grammar, "sentiment", words, min_count=1)


def test_a_million_rows_take_seconds() -> None:
    N, E = 1_000_000, 50_000
    rng = np.random.default_rng(0)
    texts = tuple(f"{i} words in the text" for i in range(E))
    start = np.zeros(N, np.int32)
    corpus = Corpus(
        name="large",
        texts=texts,
        groups=texts,
        splits=rng.integers(0, 3, E).astype(np.int8),
        units=Units(
            np.sort(rng.integers(0, E, N)).astype(np.int32), start, start + 4, start.astype(np.int8)
        ),
        features={
            "tag": Feature(
                "tag",
                "word",
                tuple(map(str, range(100, 150))),
                rng.integers(-1, 50, N).astype(np.int32),
            )
        },
    )
    begin = time.perf_counter()
    task: Task = make_task(corpus, "tag", all_units(corpus), min_count=10)
    assert time.perf_counter() - begin < 10  # 1.2 s alone; most of it once for a corpus
    assert len(task.rows) > 900_000
