"""The layers of a model, without its weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from probes.config import ModelConfig
from probes.models.depth import chosen_layers, known_sites
from probes.models.loading import open_model
from probes.models.sites import find_sites
from tests.tiny_checkpoints import make_tokenizer, write_checkpoint
from tests.tiny_families import FAMILIES
from tests.tiny_models import build


@pytest.mark.parametrize("family", FAMILIES)
def test_a_skeleton_has_the_sites_of_the_model(family: str, tmp_path: Path) -> None:
    body = build(family)
    directory = tmp_path / "model"
    body.config.save_pretrained(directory)
    make_tokenizer().save_pretrained(directory)
    handle = open_model(ModelConfig(name=str(directory), random_init=True))
    skeleton = handle.skeleton()
    assert {p.device.type for p in skeleton.parameters()} == {"meta"}
    assert known_sites(handle, "heads") == find_sites(body)


def test_a_stride_needs_no_weights(tmp_path: Path) -> None:
    directory = write_checkpoint(tmp_path / "model", "llama_gqa", num_hidden_layers=7)
    handle = open_model(ModelConfig(name=str(directory)))
    (directory / "model.safetensors").unlink()
    state = torch.random.get_rng_state()
    assert chosen_layers("every:3", handle, "heads") == [0, 3, 6]
    assert torch.equal(state, torch.random.get_rng_state())
    assert chosen_layers("1-3", handle, "heads") == [1, 2, 3]
    assert chosen_layers(None, handle, "heads") is None
