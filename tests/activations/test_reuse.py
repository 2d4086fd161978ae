"""What is there already is used, and nothing that differs is."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from probes.activations.extraction import extract
from probes.config import ExtractionConfig, PositionConfig
from probes.core.errors import UserError
from probes.models.handle import Handle
from tests.activations.interrupting import refuse
from tests.small_corpora import corpus_of_words, random_texts


class TestReuse:
    def test_a_second_run_loads_no_model(
        self,
        llama: Handle,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        corpus = corpus_of_words(random_texts(5))
        first = extract(llama, corpus, cache_dir=tmp_path)["heads"]
        monkeypatch.setattr(Handle, "load", refuse)
        monkeypatch.setattr(Handle, "encode", refuse)
        with caplog.at_level(logging.INFO):
            second = extract(llama, corpus, cache_dir=tmp_path)["heads"]
        assert first.fresh and not second.fresh
        assert first.directory == second.directory
        assert "the model is not run" in caplog.text

    def test_a_cache_of_all_layers_serves_some(
        self, llama: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        corpus = corpus_of_words(random_texts(5))
        whole = extract(llama, corpus, cache_dir=tmp_path)["heads"]
        monkeypatch.setattr(Handle, "load", refuse)
        part = extract(llama, corpus, cache_dir=tmp_path, layers=[1])["heads"]
        assert [info.layer for info in part.layers] == [1]
        assert torch.equal(part.layer(1), whole.layer(1))
        with pytest.raises(UserError, match="no layer"):
            part.layer(0)

    def test_some_layers_do_not_serve_all(self, llama: Handle, tmp_path: Path) -> None:
        corpus = corpus_of_words(random_texts(5))
        part = extract(llama, corpus, cache_dir=tmp_path, layers=[0])["heads"]
        assert [x.name for x in part.directory.glob("layer*")] == ["layer_000.safetensors"]
        whole = extract(llama, corpus, cache_dir=tmp_path)["heads"]
        assert [info.layer for info in whole.layers] == [0, 1]
        assert torch.equal(part.layer(0), whole.layer(0))

    def test_an_unknown_layer_is_refused_beside_a_cache_of_all(
        self, llama: Handle, tmp_path: Path
    ) -> None:
        corpus = corpus_of_words(random_texts(5))
        extract(llama, corpus, cache_dir=tmp_path)
        with pytest.raises(UserError, match=r"layers=\[7\]"):
            extract(llama, corpus, cache_dir=tmp_path, layers=[7])
        assert [p.name for p in tmp_path.glob("*.partial")] == []

    def test_only_missing_kinds_are_computed(self, llama: Handle, tmp_path: Path) -> None:
        corpus = corpus_of_words(random_texts(5))
        extract(llama, corpus, cache_dir=tmp_path)
        caches = extract(llama, corpus, sites=["heads", "residual"], cache_dir=tmp_path)
        assert not caches["heads"].fresh
        assert caches["residual"].fresh

    @pytest.mark.parametrize(
        "change",
        [
            {"texts": 6},
            {"extraction": ExtractionConfig(dtype="bfloat16")},
            {"position": PositionConfig(word="mean")},
            {"context": 30},
            {"fingerprint": "other weights"},
            {"tokenizer_fingerprint": "other tokenizer"},
            {"dtype": "float64"},
            {"attention": "eager"},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_whatever_changes_the_numbers_changes_the_key(
        self, llama: Handle, tmp_path: Path, change: dict[str, Any]
    ) -> None:
        first = extract(llama, corpus_of_words(random_texts(5)), cache_dir=tmp_path)["heads"]
        corpus = corpus_of_words(random_texts(change.pop("texts", 5)))
        options = {k: change.pop(k) for k in ("extraction", "position") if k in change}
        handle = dataclasses.replace(llama, **change)
        second = extract(handle, corpus, cache_dir=tmp_path, **options)["heads"]
        assert second.fresh
        assert second.key != first.key

    def test_labels_and_splits_do_not(self, llama: Handle, tmp_path: Path) -> None:
        corpus = corpus_of_words(random_texts(5))
        extract(llama, corpus, cache_dir=tmp_path)
        other = dataclasses.replace(corpus, splits=np.full(5, 2, dtype=np.int8))
        assert not extract(llama, other, cache_dir=tmp_path)["heads"].fresh
