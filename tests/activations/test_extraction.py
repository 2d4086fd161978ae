"""The cache against a model that is run text by text, with plain hooks and nothing else."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

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
from probes.passes import loop as passes_module
from tests.small_corpora import corpus_of_texts, corpus_of_words, mixed_corpus, random_texts
from tests.tiny_checkpoints import write_checkpoint
from tests.tiny_families import FAMILIES

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

        monkeypatch.setattr(passes_module, "forward", broken)
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
        body = handle.load()
        projection = body.layers[1].self_attn.v_proj.weight
        projection.data *= 1e6
        monkeypatch.setattr(Handle, "load", lambda self: body)
        corpus = corpus_of_words(random_texts(5))
        with pytest.raises(UserError, match=r"heads, decoder layer 1: \d+ of \d+ values") as error:
            extract(handle, corpus, cache_dir=tmp_path / "c")
        assert "extraction.dtype=bfloat16" in error.value.fix
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
        body = handle.load()
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


# --- helpers -----------------------------------------------------------------------------------


def refuse(*args: Any, **options: Any) -> Any:
    raise AssertionError("this must not be called")


def count_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Appends the number of forward passes of each ``extract``."""
    counts: list[int] = []
    real, real_extract = passes_module.forward, module._Extraction.run

    def counting(*args: Any, **options: Any) -> Any:
        counts[-1] += 1
        return real(*args, **options)

    def run(self: Any, *args: Any) -> Any:
        counts.append(0)
        return real_extract(self, *args)

    monkeypatch.setattr(passes_module, "forward", counting)
    monkeypatch.setattr(module._Extraction, "run", run)
    return counts


def limit_tokens(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """A machine that runs out of memory above ``limit`` padded tokens, half-way through."""
    real = passes_module.forward

    def limited(body: Any, kind: Any, ids: torch.Tensor, mask: torch.Tensor, **options: Any) -> Any:
        result = real(body, kind, ids, mask, **options)
        if ids.numel() > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return result

    monkeypatch.setattr(passes_module, "forward", limited)


def test_a_cache_read_for_words_alone_refuses_labels_of_texts(
    llama: Handle, tmp_path: Path
) -> None:
    short = dataclasses.replace(llama, context=16)
    corpus = mixed_corpus(["storm " * 40, "a storm"])
    cache = extract(short, corpus, cache_dir=tmp_path, whole_texts=False)["heads"]
    assert cache.manifest["counts"]["unread_texts"] == 1
    with pytest.raises(UserError, match=r"1 texts exceed .* truncate=true"):
        extract(short, corpus, cache_dir=tmp_path)
