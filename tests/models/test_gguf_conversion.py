"""GGUF files: the same model as the one they were made from, unpacked once, and bad files."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from probes.config import ModelConfig
from probes.core.errors import UserError
from probes.models import gguf_conversion
from probes.models.gguf_file import read_header
from probes.models.handle import Handle
from probes.models.language_model import logits
from probes.models.loading import open_model
from probes.models.sites import find_sites
from probes.models.verification import verify_sites
from tests import tiny_checkpoints, tiny_gguf, tiny_models


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_gguf.write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADPROBES_CACHE", str(tmp_path / "memo"))
    return tmp_path / "cache"


def opened(file: Path, cache: Path, **settings: Any) -> Handle:
    return open_model(ModelConfig(name=str(file), device="cpu", **settings), cache_dir=cache)


def no_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        gguf_conversion, "_checked_header", lambda *args: pytest.fail("read the file again")
    )


def test_it_is_the_model_that_the_file_was_made_from(written: Path, cache: Path) -> None:
    handle = opened(written, cache)
    assert (handle.kind, handle.context, handle.dtype) == ("decoder", 64, "float32")
    assert handle.config.rms_norm_eps == tiny_gguf.EPS, "not the float32 next to it"
    whole, model = tiny_gguf.tiny_llama(), handle.load(head=True)
    ids, mask = tiny_models.pad(tiny_models.sequences())
    with torch.no_grad():
        expected = whole(input_ids=ids, attention_mask=mask).logits
    got = logits(model, handle.kind, ids, mask)
    torch.testing.assert_close(got[mask.bool()], expected[mask.bool()], rtol=0, atol=0)
    body = handle.load()
    sites = find_sites(body)
    assert [(s.units, s.width) for s in sites] == [(4, 8)] * len(sites)
    verify_sites(body, sites)


def test_tokenizer_and_chat_template_are_kept(written: Path, cache: Path) -> None:
    tokenizer: Any = opened(written, cache).tokenizer
    expected = tiny_checkpoints.make_tokenizer(bos=False)
    for text in tiny_checkpoints.TEXTS:
        assert tokenizer(text)["input_ids"] == expected(text)["input_ids"]
    assert tokenizer.chat_template == tiny_gguf.CHAT
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<s>", "</s>")
    again: Any = opened(written, cache, bos="always")
    assert again.encode(["dogs"])[0].ids[0] == tokenizer.bos_token_id


def test_a_second_start_does_not_read_the_file_again(
    written: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = opened(written, cache)
    weights = first.load().state_dict()
    no_conversion(monkeypatch)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # nor needs the packages
    second = opened(written, cache)
    assert second.fingerprint == first.fingerprint
    assert second.tokenizer_fingerprint == first.tokenizer_fingerprint
    for name, weight in second.load().state_dict().items():
        assert torch.equal(weight, weights[name])


def test_opening_unpacks_no_weights(written: Path, cache: Path) -> None:
    handle = opened(written, cache)
    assert not list(cache.rglob("*.safetensors"))
    handle.load()
    assert len(list(cache.rglob("*.safetensors"))) == 1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_dtype(written: Path, cache: Path, dtype: str) -> None:
    """Rounded once, from the numbers in the file."""
    handle = opened(written, cache, dtype=dtype)
    state = handle.load(head=True).state_dict()
    assert {str(p.dtype) for p in state.values()} == {f"torch.{dtype}"}
    for name, weight in tiny_gguf.tiny_llama().state_dict().items():
        assert torch.equal(state[name], weight.to(getattr(torch, dtype))), name


def test_quantised_weights_are_those_that_gguf_unpacks(tmp_path: Path, cache: Path) -> None:
    model = tiny_gguf.tiny_llama()
    file = tiny_gguf.write_gguf(tmp_path / "q8.gguf", model, quantised=True)
    quants = tiny_gguf.require().quants
    state = opened(file, cache).load(head=True).state_dict()
    name, kind = "model.embed_tokens.weight", tiny_gguf.require().GGMLQuantizationType.Q8_0
    packed = quants.quantize(model.state_dict()[name].numpy(), kind)
    np.testing.assert_array_equal(state[name].numpy(), quants.dequantize(packed, kind))
    assert not torch.equal(state[name], model.state_dict()[name])


def test_fingerprint_is_the_files(written: Path, tmp_path: Path, cache: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    copy = shutil.copy(written, tmp_path / "elsewhere" / "renamed.gguf")
    other = tiny_gguf.write_gguf(tmp_path / "other.gguf", tiny_gguf.tiny_llama(seed=1))
    first, same, different = (opened(Path(f), cache) for f in (written, copy, other))
    assert first.fingerprint == same.fingerprint != different.fingerprint
    random = opened(written, cache, random_init=True)
    assert random.fingerprint not in (first.fingerprint, different.fingerprint)
    assert not torch.equal(
        random.load().get_input_embeddings().weight,  # type: ignore[operator]
        first.load().get_input_embeddings().weight,  # type: ignore[operator]
    )


def test_a_damaged_copy_is_made_again(
    written: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Loaded weights are mapped from their file: what is written into it would be seen in them.
    weights = {n: w.clone() for n, w in opened(written, cache).load().state_dict().items()}
    (stored,) = cache.rglob("model.safetensors")
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)
    (config,) = [p for p in cache.rglob("config.json") if "float32" not in p.parent.name]
    config.write_text("{")
    with caplog.at_level(logging.WARNING):
        again = opened(written, cache).load().state_dict()
    assert caplog.text.count("is damaged; it is made again") == 2
    assert all(torch.equal(again[name], weight) for name, weight in weights.items())


def test_what_a_killed_process_left_is_not_used(written: Path, cache: Path) -> None:
    folder = opened(written, cache).gguf
    assert folder is not None
    partial = folder.directory.with_name(f"{folder.directory.name}-float32.partial")
    partial.mkdir()
    (partial / "model.safetensors").write_bytes(b"half")
    opened(written, cache).load()
    assert not partial.exists()


def test_two_processes_unpack_once(
    written: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle, times = opened(written, cache), []
    unpacked = gguf_conversion.ConvertedGguf._unpacked

    def counted(self: Any, *args: Any) -> Any:
        times.append(args)
        return unpacked(self, *args)

    monkeypatch.setattr(gguf_conversion.ConvertedGguf, "_unpacked", counted)
    threads = [threading.Thread(target=handle.load) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(times) == 1


def test_directories_with_gguf_files(written: Path, tmp_path: Path, cache: Path) -> None:
    directory = tmp_path / "models"
    directory.mkdir()
    shutil.copy(written, directory / "a.gguf")
    assert opened(directory, cache).fingerprint == opened(written, cache).fingerprint
    tiny_gguf.write_gguf(directory / "b.gguf", tiny_gguf.tiny_llama(seed=1))
    with pytest.raises(UserError, match=r"2 GGUF files.*a\.gguf, b\.gguf.*model\.gguf_file=a"):
        opened(directory, cache)
    first, second = (opened(directory, cache, gguf_file=f"{name}.gguf") for name in "ab")
    assert first.fingerprint == opened(written, cache).fingerprint != second.fingerprint
    with pytest.raises(UserError, match=r"gguf_file=c\.gguf: no such file.*a\.gguf, b\.gguf"):
        opened(directory, cache, gguf_file="c.gguf")
    tiny_checkpoints.write_checkpoint(directory)
    assert opened(directory, cache).gguf is None, "a checkpoint beside them comes first"
    assert opened(directory, cache, gguf_file="b.gguf").gguf is not None


# --- bad input ---------------------------------------------------------------------------------


def test_unsupported_architecture(tmp_path: Path, cache: Path) -> None:
    file = tiny_gguf.write_gguf(tmp_path / "x.gguf", architecture="mymodel")
    with pytest.raises(UserError, match=r"architecture 'mymodel'; allowed: .*llama.*qwen3"):
        opened(file, cache)


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.3, 0.99])
def test_truncated(written: Path, tmp_path: Path, cache: Path, share: float) -> None:
    content = written.read_bytes()
    file = tmp_path / "cut.gguf"
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=r"cut\.gguf.*(truncated|no GGUF file).*again|LFS"):
        opened(file, cache)
    assert not list(cache.rglob("config.json"))


def test_every_cut_of_a_header_is_a_message(written: Path, tmp_path: Path) -> None:
    """Whatever field the file ends in."""
    end = read_header(written).data_start
    content = written.read_bytes()
    file = tmp_path / "cut.gguf"
    for size in range(0, end - 32, 97):
        file.write_bytes(content[:size])
        with pytest.raises(UserError, match=r"cut\.gguf"):
            read_header(file)


def test_wrong_magic(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "pointer.gguf"
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UserError, match=r"no GGUF file, it begins with b'vers'.*Git LFS"):
        opened(file, cache)
    file.write_bytes(b"GGUF" + (1).to_bytes(4, "little") + bytes(64))
    with pytest.raises(UserError, match=r"GGUF version 1; allowed: 2 and 3"):
        opened(file, cache)


def test_no_such_file(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(UserError, match=r"none\.gguf: no such file"):
        opened(tmp_path / "none.gguf", cache)
    with pytest.raises(UserError, match=r"is no directory.*hf download some/model x\.gguf"):
        open_model(ModelConfig(name="some/model", gguf_file="x.gguf"), cache_dir=cache)


def test_one_of_several_files(written: Path, tmp_path: Path, cache: Path) -> None:
    file = Path(shutil.copy(written, tmp_path / "m-00001-of-00003.gguf"))
    with pytest.raises(UserError, match=r"one of several files.*llama-gguf-split --merge"):
        opened(file, cache)


def test_no_tokenizer(tmp_path: Path, cache: Path) -> None:
    file = tiny_gguf.write_gguf(tmp_path / "x.gguf", tokenizer=False)
    with pytest.raises(UserError, match=r"x\.gguf: the GGUF file has no tokenizer"):
        opened(file, cache)


def test_missing_tensor(tmp_path: Path, cache: Path) -> None:
    """It would be random numbers."""
    file = tiny_gguf.write_gguf(tmp_path / "x.gguf", without="blk.1.attn_v.weight")
    handle = opened(file, cache)
    with pytest.raises(UserError, match=r"lacks 1 weights .*layers\.1\.self_attn\.v_proj"):
        handle.load()
    assert not list(cache.rglob("*.safetensors"))


def test_rotary_factors_that_transformers_does_not_read(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened(tiny_gguf.write_gguf(tmp_path / "plain.gguf"), cache)
    assert "rope_freqs" not in caplog.text
    opened(tiny_gguf.write_gguf(tmp_path / "x.gguf", rotary_factors=True), cache)
    assert "rope_freqs" in caplog.text


@pytest.mark.parametrize("missing", [("gguf",), ("accelerate",), ("gguf", "accelerate")])
def test_packages_not_installed(
    written: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...]
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in missing else real(name)
    )
    names = " and ".join(missing)
    with pytest.raises(UserError, match=rf"needs the packages? {names}\. .*headprobes\[gguf\]"):
        opened(written, cache)


def test_revision(written: Path, cache: Path) -> None:
    with pytest.raises(UserError, match="only models of the Hub have revisions"):
        opened(written, cache, revision="main")


def test_missing_shard(tmp_path: Path) -> None:
    """Of an ordinary checkpoint, named by its index."""
    directory = tiny_checkpoints.write_checkpoint(tmp_path)
    os.rename(directory / "model.safetensors", directory / "model-00001-of-00002.safetensors")
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    index = directory / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": names}))
    with pytest.raises(UserError, match=r"model-00002-of-00002\.safetensors is missing"):
        open_model(ModelConfig(name=str(directory)))
