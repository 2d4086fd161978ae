"""``model.dtype=auto``: the checkpoint's dtype, unless the processor has no instructions for it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from probes.activations.key import cache_key
from probes.config import ExtractionConfig, ModelConfig, PositionConfig
from probes.models import dtypes
from probes.models.dtypes import chosen_dtype, cpu_has_bfloat16
from probes.models.loading import open_model
from tests import tiny_checkpoints
from tests.small_corpora import TEXT, corpus_of_words

CPUINFO = {
    "x86 without": "processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_vnni\n",
    "AVX512_BF16": "processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16\n",
    "AMX": "processor\t: 0\nflags\t\t: fpu amx_tile amx_bf16\n",
    "Arm": "processor\t: 0\nFeatures\t: fp asimd i8mm bf16\n",
    "Arm without": "processor\t: 0\nFeatures\t: fp asimd\n",
    "no flags": "processor\t: 0\n",
}


def stub(monkeypatch: pytest.MonkeyPatch, capable: bool) -> None:
    monkeypatch.setattr(dtypes, "cpu_has_bfloat16", lambda: capable)


def config(dtype: Any) -> Any:
    made = SimpleNamespace(dtype=dtype, is_encoder_decoder=False)
    made.get_text_config = lambda: made
    return made


@pytest.mark.parametrize("capable", [True, False])
@pytest.mark.parametrize("saved", ["float32", "bfloat16", "float16", None])
@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_auto(
    monkeypatch: pytest.MonkeyPatch, capable: bool, saved: str | None, device: str
) -> None:
    """Only bfloat16 on a processor without its instructions becomes another dtype."""
    stub(monkeypatch, capable)
    dtype, reason = chosen_dtype("auto", config(saved and getattr(torch, saved)), device)
    changed = saved == "bfloat16" and device == "cpu" and not capable
    assert dtype == ("float32" if changed else saved or "float32")
    assert ("model.dtype=bfloat16 keeps it" in reason) == changed == bool(reason)


@pytest.mark.parametrize("capable", [True, False])
def test_what_is_asked_for_is_kept(monkeypatch: pytest.MonkeyPatch, capable: bool) -> None:
    stub(monkeypatch, capable)
    for asked in ("float32", "bfloat16", "float16", "float64"):
        assert chosen_dtype(asked, config(torch.bfloat16), "cpu") == (asked, "")


@pytest.mark.parametrize("capable", [True, False])
def test_both_ways_through_the_key_of_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capable: bool
) -> None:
    stub(monkeypatch, capable)
    tiny_checkpoints.write_checkpoint(tmp_path, dtype=torch.bfloat16)
    handle = open_model(ModelConfig(name=str(tmp_path), device="cpu"))
    expected = "bfloat16" if capable else "float32"
    assert handle.dtype == expected
    assert {p.dtype for p in handle.load().parameters()} == {getattr(torch, expected)}
    key = cache_key(
        handle,
        corpus_of_words([TEXT]),
        "heads",
        layers=None,
        position=PositionConfig(),
        extraction=ExtractionConfig(),
        truncate=False,
    )
    assert key.fields["model_dtype"] == expected
    same = open_model(ModelConfig(name=str(tmp_path), device="cpu", dtype=expected))
    assert same.fingerprint == handle.fingerprint


@pytest.mark.parametrize("name", CPUINFO)
def test_instructions_are_read_from_the_system(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    (tmp_path / "cpuinfo").write_text(CPUINFO[name])
    monkeypatch.setattr(dtypes, "CPUINFO", tmp_path / "cpuinfo")
    assert cpu_has_bfloat16() == (name in ("AVX512_BF16", "AMX", "Arm"))


def test_instructions_that_torch_knows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(dtypes, "CPUINFO", tmp_path / "missing")
    for flags, expected in (({"avx512_bf16": True}, True), ({"avx512_bf16": False}, False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda flags=flags: flags, raising=False)
        assert cpu_has_bfloat16() == expected
