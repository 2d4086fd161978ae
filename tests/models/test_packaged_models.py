"""The packaged language models themselves: what they predict, their heads, their second start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from probes.config import ModelConfig
from probes.models import gguf_conversion
from probes.models.handle import Handle
from probes.models.language_model import logits
from probes.models.loading import open_model
from probes.models.packaged import PACKAGED, installed_parts
from probes.models.sites import find_sites
from probes.models.verification import verify_sites
from tests import tiny_gguf

PROMPT = "When Mary and John went to the store, John gave a drink to"
SHAPES = {"smollm2": (30, 9, 64, 0.92), "gemma3_270m": (18, 4, 256, 0.85)}
"""Layers, heads, width of a head, probability of `` Mary``."""

pytestmark = pytest.mark.long


@pytest.fixture(scope="module", params=sorted(SHAPES))
def packaged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    tiny_gguf.require()
    if installed_parts(request.param) is None:
        pytest.skip(f"the package is not installed: {PACKAGED[request.param].install}")
    cache = tmp_path_factory.mktemp("cache")
    return request.param, cache, open_of(request.param, cache)


def open_of(name: str, cache: Path) -> Handle:
    return open_model(ModelConfig(name=name, device="cpu"), cache_dir=cache)


def test_it_knows_to_whom_the_drink_was_given(packaged: tuple[str, Path, Handle]) -> None:
    name, _, handle = packaged
    model = handle.load(head=True)
    ids = torch.tensor([handle.encode([PROMPT])[0].ids])
    values = logits(model, handle.kind, ids, torch.ones_like(ids))[0, -1].softmax(-1)
    assert handle.tokenizer.decode(int(values.argmax())) == " Mary"
    assert float(values.max()) == pytest.approx(SHAPES[name][3], abs=0.01)


def test_its_heads_are_verified(packaged: tuple[str, Path, Handle]) -> None:
    name, _, handle = packaged
    body = handle.load()
    sites = find_sites(body)
    layers, heads, width, _ = SHAPES[name]
    assert [(s.units, s.width) for s in sites] == [(heads, width)] * layers
    verify_sites(body, sites)


def test_its_second_start_reads_the_copy(
    packaged: tuple[str, Path, Handle], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, cache, handle = packaged
    handle.load()
    monkeypatch.setattr(
        gguf_conversion, "_checked_header", lambda *args: pytest.fail("read the file again")
    )
    again = open_of(name, cache)
    again.load(head=True)
    assert again.fingerprint == handle.fingerprint
    assert bool(again.tokenizer.chat_template) == (name == "smollm2")
