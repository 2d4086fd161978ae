"""A model that memory does not hold: ``model.device_map=auto`` leaves layers on the disk, and they
give the numbers of the whole model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.integrations import accelerate as placement

from probes.activations.extraction import extract
from probes.models.handle import Handle
from probes.models.loading import open_model
from tests.small_corpora import corpus_of_words, random_texts

SITES = ("heads", "residual", "attention_output", "mlp_output")


def offloaded(handle: Handle, monkeypatch: pytest.MonkeyPatch) -> Handle:
    """The handle's model on a machine that has memory for a part of it."""
    pytest.importorskip("accelerate")
    plain: Any = handle.load()
    last = sum(p.nbytes for p in plain.layers[-1].parameters())
    room = sum(p.nbytes for p in plain.parameters()) - last // 2
    monkeypatch.setattr(placement, "accelerate_max_memory", lambda given: {"cpu": room / 0.9})
    return open_model(replace(handle.settings, device_map="auto"))


def on_disk(model: Any) -> set[str]:
    return {name for name, p in model.named_parameters() if p.device.type == "meta"}


def test_layers_on_the_disk_give_the_same_activations(
    llama: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = corpus_of_words(random_texts(40))
    plain = extract(llama, corpus, sites=SITES, cache_dir=tmp_path / "plain")
    handle = offloaded(llama, monkeypatch)
    away = on_disk(handle.load())
    assert any(name.startswith("layers.") for name in away), away
    caches = extract(handle, corpus, sites=SITES, cache_dir=tmp_path / "offloaded")
    for site in SITES:
        for info in plain[site].layers:
            assert torch.equal(caches[site].read(info), plain[site].read(info)), (site, info.layer)
