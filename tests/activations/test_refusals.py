"""Too little memory, numbers that are none, and wrong settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from probes.activations import extraction as module
from probes.activations.extraction import extract
from probes.config import ExtractionConfig, ModelConfig
from probes.core.errors import UserError
from probes.models.handle import Handle
from probes.models.loading import open_model
from tests.activations.interrupting import limit_tokens, refuse
from tests.small_corpora import corpus_of_texts, corpus_of_words, mixed_corpus, random_texts
from tests.tiny_checkpoints import write_checkpoint

FLOAT32 = ExtractionConfig(dtype="float32", tokens_per_batch=100)


FLOAT16 = ExtractionConfig(dtype="float16")


class TestOutOfMemory:
    def test_the_batch_is_halved_and_nothing_is_lost(
        self, llama: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        corpus = mixed_corpus(random_texts(30, seed=6))
        expected = extract(llama, corpus, extraction=FLOAT32, cache_dir=tmp_path / "a")["heads"]
        limit_tokens(monkeypatch, 60)
        got = extract(llama, corpus, extraction=FLOAT32, cache_dir=tmp_path / "b")["heads"]
        assert got.manifest["batching"][0] == [0, 100]
        assert all(tokens <= 60 for _, tokens in got.manifest["batching"][1:])
        for layer in (0, 1):
            torch.testing.assert_close(got.layer(layer), expected.layer(layer))

    def test_a_single_sequence_too_long_is_an_error(
        self, llama: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        limit_tokens(monkeypatch, 5)
        corpus = corpus_of_words(random_texts(10, seed=6))
        with pytest.raises(UserError, match="memory runs out on a single sequence"):
            extract(llama, corpus, cache_dir=tmp_path)
        assert list(tmp_path.glob("*.partial")) == []

    def test_other_errors_pass(
        self, llama: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*args: Any, **options: Any) -> None:
            raise RuntimeError("shapes differ")

        monkeypatch.setattr("probes.passes.loop.forward", broken)
        with pytest.raises(RuntimeError, match="shapes differ"):
            extract(llama, corpus_of_words(["a storm"]), cache_dir=tmp_path)

    def test_a_small_budget_makes_small_batches(self, llama: Handle, tmp_path: Path) -> None:
        corpus = corpus_of_words(random_texts(10))
        cache = extract(llama, corpus, cache_dir=tmp_path, memory_budget=64 * 1024)["heads"]
        assert cache.manifest["tokens_per_batch"] == 64


class TestNotFinite:
    def test_overflow_names_layer_and_remedy(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_checkpoint(tmp_path / "model")
        handle = open_model(ModelConfig(name=str(tmp_path / "model")))
        body: Any = handle.load()
        projection = body.layers[1].self_attn.v_proj.weight
        projection.data *= 1e6
        monkeypatch.setattr(Handle, "load", lambda self: body)
        corpus = corpus_of_words(random_texts(5))
        with pytest.raises(UserError, match=r"heads, decoder layer 1: \d+ of \d+ values") as error:
            extract(handle, corpus, extraction=FLOAT16, cache_dir=tmp_path / "c")
        assert "bfloat16, float32" in error.value.fix
        assert not list((tmp_path / "c").glob("[0-9a-f]*[0-9a-f]"))
        cache = extract(
            handle,
            corpus,
            cache_dir=tmp_path / "c",
            extraction=ExtractionConfig(dtype="bfloat16"),
        )["heads"]
        assert torch.isfinite(cache.layer(1).float()).all()

    def test_a_broken_model_is_told_from_overflow(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_checkpoint(tmp_path / "model")
        handle = open_model(ModelConfig(name=str(tmp_path / "model")))
        body: Any = handle.load()
        body.layers[0].mlp.down_proj.weight.data[0, 0] = float("nan")
        monkeypatch.setattr(Handle, "load", lambda self: body)
        monkeypatch.setattr(module, "verify_sites", lambda body, sites: None)
        with pytest.raises(UserError, match="decoder layer 1") as error:
            extract(handle, corpus_of_words(random_texts(5)), cache_dir=tmp_path / "c")
        assert "model.dtype=float32" in error.value.fix


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"extraction": ExtractionConfig(dtype="float8")}, "extraction.dtype=float8"),
        ({"extraction": ExtractionConfig(tokens_per_batch=0)}, "tokens_per_batch=0"),
        ({"sites": ["haeds"]}, "site=haeds"),
        ({"layers": [9]}, r"layers=\[9\]"),
    ],
)
def test_bad_settings(llama: Handle, tmp_path: Path, options: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        extract(llama, corpus_of_words(["a storm"]), cache_dir=tmp_path, **options)
    assert not list(tmp_path.glob("*/"))


def test_long_answers_are_refused_before_the_model_is_loaded(
    llama: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handle, "load", refuse)
    with pytest.raises(UserError, match="1 of 1 texts exceed"):
        extract(llama, corpus_of_texts(["storm " * 100]), cache_dir=tmp_path)
