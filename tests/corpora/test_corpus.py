"""The corpus itself: order of units, fingerprints, and what an empty one says."""

from __future__ import annotations

import subprocess
import sys

import pytest

from probes.core.errors import UserError
from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import TEST, TRAIN, Corpus


def make(text: str = "ab cd", *, group: str = "g", split: int = TRAIN, tag: str = "x") -> Corpus:
    builder = CorpusBuilder("toy")
    example = builder.add_text(text, group=group, split=split)
    builder.add_unit(example, 3, 5, "word", {"tag": tag})
    builder.add_unit(example, 0, 5, "sentence", {"mood": "m"})
    builder.add_unit(example, 0, 2, "word", {"tag": "y"})
    return builder.build(default_features=("tag", "absent"))


def test_units_are_sorted_with_their_values() -> None:
    corpus = make()
    assert [corpus.unit_text(unit) for unit in range(3)] == ["ab", "ab cd", "cd"]
    tag, mood = corpus.features["tag"], corpus.features["mood"]
    assert tag.classes == ("x", "y") and tag.codes.tolist() == [1, -1, 0]
    assert mood.codes.tolist() == [-1, 0, -1] and mood.level == "sentence"
    assert corpus.default_features == ("tag",)


def test_fingerprints() -> None:
    base = make()
    assert base.fingerprint == make().fingerprint
    for other in (make(group="h"), make(split=TEST), make(tag="z")):
        assert other.text_fingerprint == base.text_fingerprint
        assert other.fingerprint != base.fingerprint
    assert make("ab xy").text_fingerprint != base.text_fingerprint


def test_texts_cannot_run_into_each_other() -> None:
    def two(first: str, second: str) -> str:
        builder = CorpusBuilder("toy")
        for text in (first, second):
            builder.add_text(text, group="g", split=TRAIN)
        builder.add_unit(0, 0, 1, "word", {"tag": "x"})
        return builder.build().text_fingerprint

    assert two("ab", "c") != two("a", "bc")


def test_empty() -> None:
    with pytest.raises(UserError, match=r"corpus 'toy' is empty: 0 texts, 0 units; 3 rows lost"):
        CorpusBuilder("toy").build(notes=["3 rows lost"])


def test_reading_a_corpus_imports_nothing_heavy() -> None:
    code = (
        "import sys; from probes.corpora import load_corpus; from probes.config import "
        "GrammarConfig; import probes.corpora.tasks, probes.corpora.splits; "
        "load_corpus(GrammarConfig()); "
        "print([m for m in ('torch', 'transformers', 'datasets', 'pandas') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
