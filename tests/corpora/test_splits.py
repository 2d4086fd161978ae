"""Splits by group: nothing leaks, everything is counted, bad requests are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.config import SplitConfig
from probes.core.errors import UserError
from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import DROPPED, TEST, TRAIN, UNASSIGNED, VALIDATION, Corpus
from probes.corpora.splits import assign_splits, group_folds


def corpus_of(*examples: tuple[str, str, int]) -> Corpus:
    """A corpus of (text, group, split)."""
    builder = CorpusBuilder("toy", group_name="document")
    for text, group, split in examples:
        example = builder.add_text(text, group=group, split=split)
        builder.add_unit(example, 0, len(text), "sentence", {"length": str(len(text) % 2)})
    return builder.build()


def unsplit(groups: int, each: int = 3, split: int = UNASSIGNED) -> Corpus:
    return corpus_of(
        *((f"text {g} {i}", f"group {g}", split) for g in range(groups) for i in range(each))
    )


def groups_in(corpus: Corpus, split: int) -> set[str]:
    return {g for g, s in zip(corpus.groups, corpus.splits, strict=True) if s == split}


def test_shipped_split_is_kept() -> None:
    corpus = corpus_of(("a", "1", TRAIN), ("b", "2", VALIDATION), ("c", "3", TEST))
    for source in ("auto", "shipped"):
        split = assign_splits(corpus, SplitConfig(source=source))
        assert split.splits.tolist() == [TRAIN, VALIDATION, TEST]
        assert split.notes == ()


@pytest.mark.parametrize("source", ["auto", "group"])
@pytest.mark.parametrize("seed", range(5))
def test_drawn_parts_never_share_a_group(source: str, seed: int) -> None:
    corpus = assign_splits(unsplit(40), SplitConfig(source=source, seed=seed))
    parts = [groups_in(corpus, split) for split in (TRAIN, VALIDATION, TEST)]
    assert [len(part) for part in parts] == [28, 6, 6]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]


def test_seed_decides_the_draw() -> None:
    first, same, other = (
        assign_splits(unsplit(40), SplitConfig(seed=seed)).splits.tolist() for seed in (0, 0, 1)
    )
    assert first == same != other


def test_only_the_missing_part_is_drawn() -> None:
    train = [(f"t{i}", f"g{i}", TRAIN) for i in range(20)]
    corpus = assign_splits(corpus_of(*train, ("x", "x", TEST)), SplitConfig(validation=0.1))
    assert groups_in(corpus, TEST) == {"x"}
    assert len(groups_in(corpus, VALIDATION)) == 2
    assert "validation drawn by document from train" in corpus.notes[0]


def test_recurring_texts_are_dropped_from_the_held_out_side_and_counted() -> None:
    corpus = corpus_of(
        ("same", "1", TRAIN),
        ("train", "1", TRAIN),
        ("same", "2", VALIDATION),
        ("both", "2", VALIDATION),
        ("validation", "2", VALIDATION),
        ("same", "3", TEST),
        ("both", "3", TEST),
    )
    split = assign_splits(corpus, SplitConfig())
    assert split.splits.tolist() == [TRAIN, TRAIN, DROPPED, DROPPED, VALIDATION, DROPPED, TEST]
    assert split.notes == (
        "1 validation examples dropped: their texts recur in train",
        "1 test examples dropped: their texts recur in train",
        "1 validation examples dropped: their texts recur in test",
    )
    assert split.text_fingerprint == corpus.text_fingerprint  # the same activations serve


def test_recurring_groups_are_dropped() -> None:
    corpus = corpus_of(
        ("a", "1", TRAIN), ("b", "1", TEST), ("c", "2", TEST), ("d", "3", VALIDATION)
    )
    split = assign_splits(corpus, SplitConfig())
    assert split.splits.tolist() == [TRAIN, DROPPED, TEST, VALIDATION]
    assert split.notes == ("1 test examples dropped: their document groups recur in train",)


def test_group_redraws_a_shipped_split() -> None:
    corpus = assign_splits(unsplit(20, split=TRAIN), SplitConfig(source="group", test=0.5))
    assert len(groups_in(corpus, TEST)) == 10


def test_smallest_split() -> None:
    corpus = assign_splits(unsplit(3), SplitConfig(validation=0.49, test=0.49))
    assert [len(groups_in(corpus, split)) for split in (TRAIN, VALIDATION, TEST)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (SplitConfig(source="random"), r"split\.source=random.*auto, shipped, group"),
        (SplitConfig(source="shipped"), r"ships no validation and no test split.*source=auto"),
        (SplitConfig(validation=0.0), r"split\.validation=0\.0.*split\.validation=0\.15"),
        (SplitConfig(test=1.5), r"split\.test=1\.5"),
        (SplitConfig(validation=0.6, test=0.5), r"no group to train on"),
    ],
)
def test_bad_requests(config: SplitConfig, message: str) -> None:
    with pytest.raises(UserError, match=message):
        assign_splits(unsplit(10), config)


def test_too_few_groups() -> None:
    with pytest.raises(UserError, match=r"2 document group\(s\).*at least 3 groups"):
        assign_splits(unsplit(2), SplitConfig())


def test_nothing_left_after_dropping() -> None:
    corpus = corpus_of(("a", "1", TRAIN), ("a", "2", TEST), ("b", "3", VALIDATION))
    with pytest.raises(UserError, match=r"nothing is left in test; 1 test examples dropped"):
        assign_splits(corpus, SplitConfig())


def test_no_training_part() -> None:
    with pytest.raises(UserError, match=r"no training examples: it ships only validation and test"):
        assign_splits(corpus_of(("a", "1", TEST), ("b", "2", VALIDATION)), SplitConfig())


@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(st.integers(0, 12), min_size=8, max_size=80),
    k=st.integers(2, 5),
    seed=st.integers(0, 3),
)
def test_folds(groups: list[int], k: int, seed: int) -> None:
    codes = np.array(groups)
    sizes = np.bincount(codes)
    if (sizes > 0).sum() < k:
        with pytest.raises(UserError, match=rf"split\.folds={k}"):
            group_folds(codes, k, seed)
        return
    folds = group_folds(codes, k, seed)
    assert set(folds.tolist()) == set(range(k))
    for group in set(groups):
        assert len(set(folds[codes == group].tolist())) == 1
    rows = np.bincount(folds, minlength=k)
    assert rows.max() - rows.min() <= sizes.max()
    assert (folds == group_folds(codes, k, seed)).all()


def test_folds_differ_by_seed() -> None:
    codes = np.arange(100)
    assert (group_folds(codes, 5, 0) != group_folds(codes, 5, 1)).any()


@pytest.mark.parametrize("k", [-1, 0, 1])
def test_bad_folds(k: int) -> None:
    with pytest.raises(UserError, match=rf"split\.folds={k}"):
        group_folds(np.arange(10), k)


def test_texts_that_differ_in_case_or_spacing_recur_too() -> None:
    corpus = corpus_of(
        ("The song was superb", "1", TRAIN),
        ("Fine", "1", TRAIN),
        ("The song\n\nwas superb", "2", TEST),
        ("THE SONG WAS SUPERB ", "3", VALIDATION),
        ("Fine", "3", VALIDATION),
        ("Thesong was superb", "4", TEST),
        ("Another", "5", VALIDATION),
    )
    split = assign_splits(corpus, SplitConfig())
    assert split.splits.tolist() == [TRAIN, TRAIN, DROPPED, DROPPED, DROPPED, TEST, VALIDATION]
    assert split.notes == (
        "2 validation examples dropped: their texts recur in train (1 of them in other case or "
        "spacing)",
        "1 test examples dropped: their texts recur in train (1 of them in other case or spacing)",
    )
    drawn = assign_splits(
        corpus_of(*((text, text, UNASSIGNED) for i in range(30) for text in (f"a {i}", f"A  {i}"))),
        SplitConfig(),
    )
    parts = [
        {
            " ".join(t.lower().split())
            for t, s in zip(drawn.texts, drawn.splits, strict=True)
            if s == p
        }
        for p in (TRAIN, VALIDATION, TEST)
    ]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]


def test_folds_share_no_text_up_to_case_and_spacing() -> None:
    corpus = corpus_of(("One two", "1", TRAIN), ("one  TWO", "2", TRAIN), ("three", "3", TRAIN))
    assert corpus.text_codes.tolist() == [0, 0, 1]


def test_texts_that_differ_in_case_or_spacing_are_one_group() -> None:
    texts = [text for i in range(30) for text in (f"a {i}", f"A  {i}")]
    corpus = assign_splits(corpus_of(*((text, text, UNASSIGNED) for text in texts)), SplitConfig())
    assert len(set(corpus.groups)) == 30 and (corpus.splits != DROPPED).all()
    given = corpus_of(("a", "a", TRAIN), ("A", "B", TRAIN), ("A", "A", TRAIN))
    assert given.groups == ("a", "B", "a")
