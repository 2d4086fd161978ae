"""The cache against a model that is run text by text, with plain hooks and nothing else."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.tiny_configs import tiny_body
from probes.activations import extraction as module
from probes.activations.cache import Cache
from probes.activations.extraction import extract
from probes.config import ExtractionConfig, ModelConfig, PositionConfig
from probes.core.errors import UserError
from probes.corpora.corpus import Corpus
from probes.models.forward import token_offset
from probes.models.handle import Handle
from probes.models.loading import open_model
from probes.models.sites import find_sites
from tests.activations.interrupting import count_passes
from tests.small_corpora import corpus_of_words, mixed_corpus, random_texts
from tests.tiny_checkpoints import make_tokenizer, write_checkpoint
from tests.tiny_families import CONTEXT, FAMILIES

FLOAT32 = ExtractionConfig(dtype="float32", tokens_per_batch=100)


def one_by_one(
    handle: Handle, corpus: Corpus, kind: str, word: str = "last_subword", text: str = "last_token"
) -> dict[tuple[str, int], np.ndarray]:
    """(stream, layer) -> (heads, units, width), from unpadded single texts."""
    body = handle.load()
    sites = find_sites(body, kind)
    seen: dict[Any, torch.Tensor] = {}
    for site in sites:
        target = body.get_submodule(site.module)
        if site.side == "input":
            target.register_forward_pre_hook(
                lambda m, args, kwargs, site=site: seen.update(
                    {site: args[0] if args else next(iter(kwargs.values()))}
                ),
                with_kwargs=True,
            )
        else:
            target.register_forward_hook(
                lambda m, args, out, site=site: seen.update(
                    {site: out if isinstance(out, torch.Tensor) else out[0]}
                )
            )
    result: dict[tuple[str, int], list[np.ndarray]] = {(s.stream, s.layer): [] for s in sites}
    units = corpus.units
    for number, content in enumerate(corpus.texts):
        encoding = handle.encode([content])[0]
        ids = torch.tensor([encoding.ids])
        inputs = {"input_ids": ids}
        if handle.kind == "encoder-decoder":
            start = torch.tensor([[handle.config.decoder_start_token_id]])
            inputs["decoder_input_ids"] = torch.cat([start, ids], dim=1)
        with torch.no_grad():
            body(**inputs)
        for unit in np.flatnonzero(units.example == number):
            tokens = [
                i
                for i, (a, b) in enumerate(encoding.offsets)
                if max(a, units.start[unit]) < min(b, units.end[unit]) and not encoding.special[i]
            ]
            mode = word if units.level[unit] == 0 else text
            tokens = {"mean": tokens, "first_subword": tokens[:1]}.get(mode, tokens[-1:])
            for site in sites:
                offset = token_offset(handle.kind, site.stream)
                z = seen[site].reshape(-1, site.units, site.width)[[t + offset for t in tokens]]
                result[site.stream, site.layer].append(z.double().mean(dim=0).numpy())
    return {key: np.stack(rows, axis=1) for key, rows in result.items()}


def check(cache: Cache, expected: dict[tuple[str, int], np.ndarray], tolerance: float) -> None:
    assert [(x.stream, x.layer) for x in cache.layers] == list(expected)
    for info in cache.layers:
        got = cache.layer(info.layer, info.stream).double().numpy()
        want = expected[info.stream, info.layer]
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * np.abs(want).max())


@pytest.mark.parametrize(
    "family",
    ["gpt2", "llama_head_dim", "qwen3_next", "deepseek_v3", "mixtral", "bert", "roberta",
     "modernbert", "bart", "t5"],
)  # fmt: skip
def test_equals_single_texts(family: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model", family)
    handle = open_model(ModelConfig(name=str(tmp_path / "model")))
    corpus = mixed_corpus(random_texts(12, seed=3, longest=8))
    cache = extract(handle, corpus, extraction=FLOAT32, cache_dir=tmp_path / "c")["heads"]
    assert {info.stream for info in cache.layers} == set(FAMILIES[family].heads)
    check(cache, one_by_one(handle, corpus, "heads"), 2e-4)


@pytest.mark.parametrize("model_type", ["nystromformer", "yoso"])
def test_models_that_let_padding_in_run_one_text_at_a_time(
    model_type: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = make_tokenizer()
    body: Any = tiny_body(model_type, vocab_size=len(tokenizer), max_position_embeddings=CONTEXT)
    body.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    handle = open_model(ModelConfig(name=str(tmp_path / "model")))
    corpus = mixed_corpus(random_texts(12, seed=3, longest=8))
    caches = extract(
        handle, corpus, sites=["heads", "residual"], extraction=FLOAT32, cache_dir=tmp_path / "c"
    )
    for kind, cache in caches.items():
        check(cache, one_by_one(handle, corpus, kind), 2e-4)
        assert cache.manifest["tokens_per_batch"] == 1
    assert caplog.text.count("texts are run one at a time") == 1


@pytest.mark.parametrize(("word", "text"), [("mean", "mean"), ("first_subword", "last_token")])
def test_pooling(llama: Handle, tmp_path: Path, word: str, text: str) -> None:
    corpus = mixed_corpus(random_texts(15, seed=4))
    caches = extract(
        llama,
        corpus,
        position=PositionConfig(word=word, text=text),
        extraction=FLOAT32,
        cache_dir=tmp_path,
    )
    check(caches["heads"], one_by_one(llama, corpus, "heads", word, text), 1e-4)


def test_every_kind_in_one_pass(
    llama: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = count_passes(monkeypatch)
    corpus = mixed_corpus(random_texts(15, seed=5))
    kinds = ["heads", "residual", "attention_output", "mlp_output"]
    caches = extract(llama, corpus, sites=kinds, extraction=FLOAT32, cache_dir=tmp_path)
    together = passes.pop()
    assert list(caches) == kinds
    for kind in kinds:
        check(caches[kind], one_by_one(llama, corpus, kind), 1e-4)
    extract(llama, corpus, sites=kinds, extraction=FLOAT32, cache_dir=tmp_path / "other")
    assert passes.pop() == together
    assert len({cache.directory for cache in caches.values()}) == 4


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_stored_dtypes_round_once(llama: Handle, tmp_path: Path, dtype: str) -> None:
    corpus = corpus_of_words(random_texts(10))
    exact = extract(llama, corpus, extraction=FLOAT32, cache_dir=tmp_path)["heads"]
    rounded = extract(
        llama,
        corpus,
        extraction=dataclasses.replace(FLOAT32, dtype=dtype),
        cache_dir=tmp_path,
    )["heads"]
    for layer in (0, 1):
        assert rounded.layer(layer).dtype == getattr(torch, dtype)
        assert torch.equal(rounded.layer(layer), exact.layer(layer).to(getattr(torch, dtype)))


def test_windows_of_long_texts_are_read_as_texts_of_their_own(
    llama: Handle, tmp_path: Path
) -> None:
    short = dataclasses.replace(llama, context=10)
    corpus = corpus_of_words(["a storm came in before the sailor mended the nets " * 2])
    cache = extract(short, corpus, extraction=FLOAT32, cache_dir=tmp_path)["heads"]
    assert cache.rows["window"].max() > 2
    last = cache.rows["window"].max()
    rows = np.flatnonzero(cache.rows["window"] == last)
    unit = cache.rows["unit"][rows[0]]
    # A byte-level tokenizer writes the space before a word into its first token.
    tail = corpus.texts[0][corpus.units.start[unit] - 1 :]
    alone = extract(
        short, corpus_of_words([tail]), extraction=FLOAT32, cache_dir=tmp_path / "tail"
    )["heads"]
    torch.testing.assert_close(cache.layer(1)[:, rows], alone.layer(1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("at_once", [3, 1 << 20])
def test_rows_say_where_they_come_from(
    llama: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr("probes.activations.row_fields.ROWS_AT_ONCE", at_once)
    corpus = corpus_of_words(["the old sailor mended nets", "nobody believed a storm"])
    cache = extract(llama, corpus, cache_dir=tmp_path)["heads"]
    np.testing.assert_array_equal(cache.rows["unit"], np.arange(len(corpus.units)))
    np.testing.assert_array_equal(cache.rows["example"], corpus.units.example)
    for row in range(cache.n_rows):
        ids = llama.encode([corpus.texts[cache.rows["example"][row]]])[0].ids
        piece = llama.tokenizer.decode([ids[cache.rows["last_token"][row]]])
        assert corpus.unit_text(row).endswith(piece.strip())


def test_the_pass_stops_behind_the_last_layer_asked_for(
    llama: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = llama.load()
    ran: list[str] = []
    for name, part in body.named_modules():
        part.register_forward_hook(lambda m, a, o, name=name: ran.append(name))
    monkeypatch.setattr(Handle, "load", lambda self: body)
    monkeypatch.setattr(module, "verify_sites", lambda body, sites: None)
    extract(llama, corpus_of_words(["a storm"]), cache_dir=tmp_path, layers=[0])
    assert "layers.0.self_attn.v_proj" in ran
    assert "layers.0.mlp" not in ran
    assert not any(name.startswith("layers.1") for name in ran)


def test_the_manifest_tells_what_was_done(llama: Handle, tmp_path: Path) -> None:
    corpus = corpus_of_words(random_texts(5))
    cache = extract(llama, corpus, cache_dir=tmp_path)["heads"]
    manifest = json.loads((cache.directory / "manifest.json").read_text())
    assert manifest["complete"] is True
    assert manifest["rows"] == manifest["rows_done"] == len(corpus.units)
    assert manifest["fields"]["texts"] == corpus.text_fingerprint
    assert manifest["versions"]["torch"] == torch.__version__
    assert manifest["tokens"] == sum(len(e.ids) for e in llama.encode(corpus.texts))


def test_a_cache_read_for_words_alone_refuses_labels_of_texts(
    llama: Handle, tmp_path: Path
) -> None:
    short = dataclasses.replace(llama, context=16)
    corpus = mixed_corpus(["storm " * 40, "a storm"])
    cache = extract(short, corpus, cache_dir=tmp_path, whole_texts=False)["heads"]
    assert cache.manifest["counts"]["unread_texts"] == 1
    with pytest.raises(UserError, match=r"1 texts exceed .* truncate=true"):
        extract(short, corpus, cache_dir=tmp_path)
