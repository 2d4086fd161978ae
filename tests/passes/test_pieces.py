"""Which piece of its word a row is read at, from units alone and from a real tokenizer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from probes.config import GeneratedConfig, ModelConfig, PositionConfig, SplitConfig
from probes.core.errors import UserError
from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import LEVELS, Corpus
from probes.corpora.generated import load
from probes.corpora.pieces import PIECES, piece_codes, piece_feature
from probes.corpora.splits import assign_splits
from probes.corpora.tasks import make_task
from probes.models.handle import Handle
from probes.models.loading import open_model
from probes.passes.alignment import align


def subwords(count: int = 60) -> Corpus:
    corpus = load(GeneratedConfig(name="subwords", examples=count, options={"words": 2}))
    return assign_splits(corpus, SplitConfig())


def test_codes_of_runs() -> None:
    builder = CorpusBuilder("toy")
    example = builder.add_text("a b c d", group="a", split=0)
    for start in (0, 2, 4):
        builder.add_unit(example, start, start + 1, "word", {})
    builder.add_unit(example, 0, 7, "answer", {"answer": "d"})
    units = builder.build().units
    feature = piece_feature(units)
    answer = int(np.flatnonzero(units.level == LEVELS.index("answer"))[0])
    one, three, two = (unit for unit in range(4) if unit != answer)
    rows = np.array([answer, one, three, three, three, three, two, two])
    said = [PIECES[code] if code >= 0 else None for code in piece_codes(feature, rows)]
    expected = [None, "whole", "first", "inside", "inside", "last", "first", "last"]
    assert said == expected


def test_every_token_of_a_word_is_a_row(any_tokenizer: Handle) -> None:
    corpus = subwords()
    all_tokens = align(corpus, any_tokenizer, PositionConfig(word="mean"))
    got = align(corpus, any_tokenizer, PositionConfig(word="every_subword"))
    assert got.counts == all_tokens.counts and got.counts["dropped_units"] == 0
    expected = [
        (unit, sequence, token, token)
        if corpus.units.level[unit] == LEVELS.index("word")
        else (unit, sequence, last, last)
        for unit, sequence, first, last in zip(
            all_tokens.unit, all_tokens.sequence, all_tokens.first, all_tokens.last, strict=True
        )
        for token in (range(first, last + 1) if corpus.units.level[unit] == 0 else (last,))
    ]
    assert list(zip(got.unit, got.sequence, got.first, got.last, strict=True)) == expected


@pytest.mark.shared
def test_pieces_of_a_real_tokenizer(shared: Any) -> None:
    corpus = subwords(200)
    handle = open_model(ModelConfig(name=str(shared / "models" / "stories260K")))
    rows = align(corpus, handle, PositionConfig(word="every_subword"))
    task = make_task(corpus, "piece", rows.unit, min_count=1)
    assert set(task.classes) >= {"first", "inside", "last"}
    words: dict[int, list[tuple[str, str]]] = {}
    for row, label in zip(task.rows, task.labels, strict=True):
        token_id = int(rows.ids[rows.offsets[rows.sequence[row]] + rows.first[row]])
        token = handle.tokenizer.convert_ids_to_tokens(token_id).removeprefix("\u2581")
        words.setdefault(int(rows.unit[row]), []).append((token, task.classes[label]))
    for unit, pieces in words.items():
        assert "".join(token for token, _ in pieces) == corpus.unit_text(unit)
        inside = ["inside"] * (len(pieces) - 2)
        whole = ["first", *inside, "last"] if len(pieces) > 1 else ["whole"]
        assert [said for _, said in pieces] == whole
    length = make_task(corpus, "word_length", rows.unit, min_count=1)
    assert np.array_equal(length.rows, task.rows)


def test_one_row_for_each_word_is_refused() -> None:
    corpus = subwords()
    units = np.arange(len(corpus.units))
    with pytest.raises(UserError, match=r"every word is read at one token.*=every_subword"):
        make_task(corpus, "piece", units, min_count=1)
    assert make_task(corpus, "word_length", units, min_count=1).level == "word"
