"""``max_examples``: whole groups, drawn from a seed, with all that belongs to their texts."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.config import (
    CORPUS_KINDS,
    CorpusConfig,
    GeneratedConfig,
    GrammarConfig,
    MultipleChoiceConfig,
    SplitConfig,
)
from probes.core.errors import UserError
from probes.corpora import load_corpus
from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import TEST, TRAIN, UNASSIGNED, VALIDATION, Corpus
from probes.corpora.splits import assign_splits
from probes.corpora.subset import take
from tests.corpora.fingerprints import write_files

PARTS = {"unassigned": [UNASSIGNED], "train and test": [TRAIN, TEST],
         "all": [TRAIN, VALIDATION, TEST]}  # fmt: skip


def make(sizes: list[int], parts: list[int], seed: int = 0) -> Corpus:
    """Groups of these sizes, mixed, in parts by turns; words, texts, answers and contrasts."""
    builder = CorpusBuilder("made", group_name="case")
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(len(sizes)), sizes)).tolist()
    for number, group in enumerate(groups):
        text = f"word{group} of text {number}"
        example = builder.add_text(text, group=f"g{group}", split=parts[group % len(parts)])
        builder.add_unit(example, 0, text.index(" "), "word", {"word": f"w{group}"})
        values = {"parity": "odd" if number % 2 else "even", "only": "here" if not number else None}
        builder.add_unit(example, 0, len(text), "answer", values)
        builder.add_answer(example, len(text), f" {number}", alternatives=[" x"], feature="parity")
        if number % 3 == 0:
            builder.add_contrast(example, f"other of text {number}", kind="other")
    return builder.build(default_features=["word", "only"])


def records(corpus: Corpus) -> dict[str, Any]:
    """Everything of each text, found by going through the corpus text by text."""
    found: dict[str, Any] = {}
    for example, text in enumerate(corpus.texts):
        units = [u for u in range(len(corpus.units)) if corpus.units.example[u] == example]
        labels = {
            (name, corpus.unit_text(u)): f.classes[f.codes[u]]
            for u in units
            for name, f in corpus.features.items()
            if f.codes[u] >= 0
        }
        answers = [(a.offset, a.text, a.feature) for a in corpus.answers if a.example == example]
        twins = [(c.kind, c.text) for c in corpus.contrasts if c.example == example]
        place = (corpus.groups[example], int(corpus.splits[example]))
        found[text] = (place, len(units), labels, answers, twins)
    return found


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=9, max_size=24),
    parts=st.sampled_from(sorted(PARTS)),
    share=st.floats(0.4, 0.99),
    seed=st.integers(0, 3),
)
def test_a_part_of_a_corpus_is_that_part_of_everything(
    sizes: list[int], parts: str, share: float, seed: int
) -> None:
    corpus = make(sizes, PARTS[parts])
    count = int(share * sum(sizes))
    try:
        less = take(corpus, count, seed)
    except UserError as error:
        enough = re.search(r"Try corpus.max_examples=(\d+)", str(error))
        assert enough and int(enough[1]) > count
        less = take(corpus, count := int(enough[1]), seed)
    assert len(less.texts) <= count
    assert [text for text in corpus.texts if text in less.texts] == list(less.texts)
    whole, kept = records(corpus), records(less)
    assert all(whole[text] == kept[text] for text in kept)
    sizes_of = Counter(corpus.groups)
    assert all(sizes_of[group] == n for group, n in Counter(less.groups).items())
    for feature in less.features.values():
        assert set(feature.codes[feature.codes >= 0]) == set(range(len(feature.classes)))
    assert {p for p in less.splits} == {p for p in corpus.splits}
    assign_splits(less, SplitConfig())
    again = take(corpus, count, seed)
    assert again.fingerprint == less.fingerprint and again.notes == less.notes


def test_parts_keep_their_shares_and_seeds_differ() -> None:
    corpus = make([1] * 300, [TRAIN] * 7 + [VALIDATION] + [TEST] * 2)
    drawn = [take(corpus, 100, seed) for seed in range(4)]
    assert {tuple(Counter(less.splits.tolist()).items()) for less in drawn} and all(
        Counter(less.splits.tolist()) == {TRAIN: 70, VALIDATION: 10, TEST: 20} for less in drawn
    )
    assert len({less.texts for less in drawn}) == 4
    often = Counter(text for seed in range(300) for text in take(corpus, 100, seed).texts)
    assert len(often) == 300  # every text has its turn: 100 of 300 each
    assert min(often.values()) > 60 and max(often.values()) < 145


def test_what_is_kept_and_what_is_gone_is_said() -> None:
    corpus = make([1] * 40, [UNASSIGNED])
    less = next(less for seed in range(9) if "only" not in (less := take(corpus, 9, seed)).features)
    assert less.default_features == ("word",)
    assert re.fullmatch(
        r"corpus.max_examples=9: 9 of 40 texts kept, 9 of 40 case groups \(drawn with "
        r"corpus.sample_seed=\d\)",
        less.notes[0],
    )
    assert less.notes[1] == "no value of only is left"


def test_a_corpus_that_is_not_larger_stays_as_it_is() -> None:
    corpus = make([2, 3], [UNASSIGNED])
    assert take(corpus, 5, 0) is corpus and take(corpus, 50, 1) is corpus


def test_the_number_that_a_message_gives_suffices_for_every_seed() -> None:
    for sizes in ([9, 1, 1, 1], [5, 5, 5], [40, 2, 2, 2, 2, 2], [1, 2, 3, 4, 5]):
        corpus = make(sizes, [UNASSIGNED])
        with pytest.raises(UserError, match="groups are never divided") as raised:
            take(corpus, 2, 0)
        fix = re.search(r"Try corpus.max_examples=(\d+)", str(raised.value))
        assert fix
        for seed in range(20):
            assign_splits(take(corpus, int(fix[1]), seed), SplitConfig())


@pytest.mark.parametrize("count", [0, -3])
def test_nothing_at_all_is_refused(count: int) -> None:
    with pytest.raises(UserError, match=rf"max_examples={count}.*Try corpus.max_examples=null"):
        load_corpus(GrammarConfig(max_examples=count))


def test_every_kind_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    configs: list[CorpusConfig] = [
        GrammarConfig(sentences=60),
        GeneratedConfig(name="ioi", examples=60),
        *write_files(Path()).values(),
    ]
    for config in configs:
        whole = load_corpus(config)
        config.max_examples = len(whole.texts) - 1
        name = f"{config.name}: {whole.notes}"
        is_drawn = not isinstance(config, MultipleChoiceConfig)
        if is_drawn and len(set(whole.groups)) <= 3:  # train, validation and test need them all
            with pytest.raises(UserError, match="groups are never divided"):
                load_corpus(config)
            continue
        less = load_corpus(config)
        assert set(less.texts) < set(whole.texts), name
        assert any("max_examples" in note for note in less.notes) == is_drawn, name
        # That reader keeps the first of each part, as ever.
        assert is_drawn or less.texts == whole.texts[: config.max_examples], name
    assert all(hasattr(kind.config(), "max_examples") for kind in CORPUS_KINDS.values())
