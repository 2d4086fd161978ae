"""Storage rounds nothing away in silence: what is measured, said, and chosen by ``auto``."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from probes.activations import stored_dtype
from probes.activations.cache import Cache
from probes.activations.extraction import extract
from probes.activations.layout import MANIFEST, seal
from probes.activations.rounding import TOLERATED, Rounding, _Sums, estimate
from probes.activations.storing import StoringVisitor
from probes.config import ExtractionConfig, ModelConfig
from probes.corpora.corpus import Corpus
from probes.models.handle import Handle
from probes.models.loading import open_model
from tests import tiny_models
from tests.activations.interrupting import refuse
from tests.small_corpora import corpus_of_words, random_texts
from tests.tiny_checkpoints import make_tokenizer, write_checkpoint

TEXTS = random_texts(30)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return corpus_of_words(TEXTS)


def planted(directory: Path, *, offset: float = 0.0, factor: float = 1.0) -> Handle:
    """A tiny Llama, 4 heads of 8, whose heads 0 and 1 of layer 0 are z * factor + offset."""
    write_checkpoint(directory)
    tokenizer = make_tokenizer()
    body: Any = tiny_models.build(
        "llama_gqa", torch.float32, vocab_size=len(tokenizer), attention_bias=True
    )
    value = body.layers[0].self_attn.v_proj
    width = value.out_features // 2
    with torch.no_grad():
        for layer in body.layers:
            for name in ("q", "k", "v", "o"):
                getattr(layer.self_attn, f"{name}_proj").bias.zero_()
        value.weight[:width] *= factor
        value.bias[:width] = offset
        body.layers[0].self_attn.o_proj.weight[:, : 2 * width] = 0  # later layers stay as they are
    body.save_pretrained(directory)
    return open_model(ModelConfig(name=str(directory), device="cpu"))


def stored(
    handle: Handle, corpus: Corpus, cache_dir: Path, dtype: str = "auto", **options: Any
) -> Cache:
    extraction = ExtractionConfig(dtype=dtype)
    return extract(handle, corpus, extraction=extraction, cache_dir=cache_dir, **options)["heads"]


def without_record(cache: Cache) -> None:
    """Make a cache one of an earlier version, which measured nothing."""
    manifest = json.loads((cache.directory / MANIFEST).read_text())
    del manifest["rounding"]
    (cache.directory / MANIFEST).write_bytes(seal(manifest))


# --- auto ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "plant",
    [
        pytest.param({"offset": 2000.0}, id="constant"),
        pytest.param({"offset": 30_000.0}, id="large_constant"),
        pytest.param({"offset": 100_000.0}, id="overflow"),
        pytest.param({"factor": 1e-7}, id="tiny"),
    ],
)
def test_auto_is_float32_where_float16_loses_a_head(
    tmp_path: Path, corpus: Corpus, plant: dict[str, float], caplog: pytest.LogCaptureFixture
) -> None:
    handle = planted(tmp_path / "model", **plant)
    with caplog.at_level(logging.INFO):
        cache = stored(handle, corpus, tmp_path / "auto")
    exact = stored(handle, corpus, tmp_path / "float32", "float32")
    assert cache.dtype == torch.float32
    for layer in (0, 1):
        assert torch.equal(cache.layer(layer), exact.layer(layer))
    assert cache.manifest["rounding"]["asked"] == "auto"
    assert "heads: stored in float32" in caplog.text
    if plant.get("offset") != 100_000.0:
        units = {tuple(unit[:3]) for unit in cache.manifest["rounding"]["units"]}
        assert units == {("decoder", 0, 0), ("decoder", 0, 1)}


def test_auto_is_float16_for_usual_models(
    llama: Handle, tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the bytes and under the name that float16 has when it is asked for."""
    auto = stored(llama, corpus, tmp_path / "auto")
    asked = stored(llama, corpus, tmp_path / "asked", "float16")
    assert auto.directory.name == asked.directory.name
    for name in ("layer_000.safetensors", "layer_001.safetensors", "rows.safetensors"):
        assert (auto.directory / name).read_bytes() == (asked.directory / name).read_bytes()
    assert auto.manifest["rounding"]["worst"] < 1e-5
    monkeypatch.setattr(Handle, "load", refuse)
    assert not stored(llama, corpus, tmp_path / "asked").fresh
    without_record(asked)
    assert not stored(llama, corpus, tmp_path / "asked").fresh, "caches of earlier versions serve"


@pytest.mark.parametrize("recorded", [True, False])
def test_auto_takes_no_float16_cache_that_lost_something(
    tmp_path: Path, corpus: Corpus, recorded: bool
) -> None:
    handle = planted(tmp_path / "model", offset=2000.0)
    lossy = stored(handle, corpus, tmp_path / "c", "float16")
    if not recorded:
        without_record(lossy)
    auto = stored(handle, corpus, tmp_path / "c")
    assert auto.fresh and auto.dtype == torch.float32
    again = stored(handle, corpus, tmp_path / "c")
    assert not again.fresh and again.directory == auto.directory


def test_auto_does_not_depend_on_a_float32_cache(
    llama: Handle, tmp_path: Path, corpus: Corpus
) -> None:
    """What somebody stored in float32 changes no default result; where auto comes to float32, it is
    used."""
    stored(llama, corpus, tmp_path / "usual", "float32")
    assert stored(llama, corpus, tmp_path / "usual").dtype == torch.float16
    handle = planted(tmp_path / "model", offset=2000.0)
    asked = stored(handle, corpus, tmp_path / "planted", "float32")
    auto = stored(handle, corpus, tmp_path / "planted")
    assert auto.directory == asked.directory and not auto.fresh


def test_auto_that_was_begun_keeps_its_dtype(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = planted(tmp_path / "model", offset=2000.0)
    whole = stored(handle, corpus, tmp_path / "whole")
    small = ExtractionConfig(tokens_per_batch=64)

    def extracted() -> Cache:
        return extract(
            handle, corpus, extraction=small, cache_dir=tmp_path / "c", checkpoint_seconds=0
        )["heads"]

    begin, batches = StoringVisitor.begin, []

    def fail_late(self: StoringVisitor, batch: Any) -> None:
        batches.append(batch)
        if len(batches) == 4:
            self.settle(marks[-1])
            raise KeyboardInterrupt
        begin(self, batch)

    def mark(self: StoringVisitor, progress: Any) -> None:
        marks.append(progress)

    marks: list[Any] = []
    monkeypatch.setattr(StoringVisitor, "mark", mark)
    monkeypatch.setattr(StoringVisitor, "begin", fail_late)
    with pytest.raises(KeyboardInterrupt):
        extracted()
    assert [path.suffix for path in (tmp_path / "c").iterdir() if path.is_dir()] == [".partial"]
    monkeypatch.setattr(StoringVisitor, "begin", begin)
    monkeypatch.setattr(stored_dtype, "measure", refuse)
    cache = extracted()
    assert cache.dtype == torch.float32 and cache.manifest["rounding"] == whole.manifest["rounding"]


def test_overflow_that_the_sample_did_not_see(
    tmp_path: Path,
    corpus: Corpus,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    handle = planted(tmp_path / "model", offset=100_000.0)
    blind = Rounding("auto", "float16", False, 1e-7, 0, ())
    monkeypatch.setattr(stored_dtype, "measure", lambda *_: {"heads": blind})
    cache = stored(handle, corpus, tmp_path / "c")
    assert cache.dtype == torch.float32 and cache.manifest["rounding"]["overflow"]
    assert "heads: values beyond float16; begun anew in float32" in caplog.text
    assert len([path for path in (tmp_path / "c").iterdir() if path.is_dir()]) == 1


# --- an explicit dtype ---------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "offset"), [("float16", 2000.0), ("bfloat16", 1000.0)])
def test_explicit_dtype_is_kept_and_its_loss_said(
    tmp_path: Path, corpus: Corpus, dtype: str, offset: float, caplog: pytest.LogCaptureFixture
) -> None:
    handle = planted(tmp_path / "model", offset=offset)
    cache = stored(handle, corpus, tmp_path / "c", dtype)
    assert cache.dtype == getattr(torch, dtype)
    pattern = f"heads: rounding to {dtype} takes variance from decoder layer 0 head"
    assert caplog.text.count(pattern) == 1
    assert "try extraction.dtype=auto (or float32)" in caplog.text
    stored(handle, corpus, tmp_path / "c", dtype)
    assert caplog.text.count(pattern) == 2, "said again where the cache is used again"
    without_record(cache)
    stored(handle, corpus, tmp_path / "c", dtype)
    assert caplog.text.count(pattern) == 3, "and of caches of earlier versions"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_usual_models_get_no_warning(
    llama: Handle, tmp_path: Path, corpus: Corpus, dtype: str, caplog: pytest.LogCaptureFixture
) -> None:
    stored(llama, corpus, tmp_path, dtype)
    assert "rounding" not in caplog.text


# --- the measure ---------------------------------------------------------------------------------


def lost(z: Tensor, dtype: torch.dtype = torch.float16) -> float:
    sums = _Sums(dtype)
    for piece in z.split(50):
        sums.add(piece)
    return float(sums.lost()[0])


def test_measure_agrees_with_its_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    z = 3000 + torch.randn(200, 1, 8, generator=generator)
    exact = z.double()
    error = z.half().double() - exact
    expected = (error.var(0) / exact.var(0)).clamp(max=1).mean()
    assert lost(z) == pytest.approx(float(expected), rel=1e-6)
    assert lost(z, torch.float32) == 0
    z[:, :, 1:] -= 3000  # one feature of eight
    assert lost(z) == pytest.approx(float(expected) / 8, rel=0.2)


def test_features_that_carry_nothing_are_not_counted() -> None:
    """Constant up to the model's own rounding, as in the residual streams of usual models."""
    z = torch.randn(200, 1, 8, generator=torch.Generator().manual_seed(0))
    z[:, :, 0] = 0
    z[:, :, 1] *= 1e-9
    z[:, :, 2] = 1000 * (1 + 1e-7 * z[:, :, 2])
    assert lost(z) < 1e-6
    assert lost(torch.zeros(50, 1, 4)) == 0


def test_massive_activations() -> None:
    """A few huge values around zero are rounded in proportion; a huge mean takes its feature."""
    z = torch.randn(200, 1, 16, generator=torch.Generator().manual_seed(0))
    z[::20, :, 3] = 3000
    assert lost(z) < TOLERATED
    z[:, :, 3] = 30_000 + z[:, :, 4]
    assert lost(z) > TOLERATED


@pytest.mark.parametrize("offset", [0.0, 500.0, 2000.0])
def test_estimate_from_stored_numbers(tmp_path: Path, corpus: Corpus, offset: float) -> None:
    cache = stored(planted(tmp_path / "model", offset=offset), corpus, tmp_path / "c", "float16")
    measured = cache.manifest["rounding"]["worst"]
    assert estimate(cache).worst == pytest.approx(measured, rel=0.6)
