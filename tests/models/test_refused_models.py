"""Models that cannot be opened or loaded end in one message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from probes.config import ModelConfig
from probes.core.errors import UserError
from tests import tiny_checkpoints, tiny_models
from tests.models.opening import opened, refused


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return tiny_checkpoints.write_checkpoint(tmp_path / "llama")


@pytest.mark.parametrize(
    ("settings", "pattern"),
    [
        ({"name": "someone/nothing-here"}, "not found on the Hub or, when offline, in its local"),
        ({"name": "/no/such/place"}, r"/no/such/place: no such directory"),
        ({"name": "a/b/c"}, "no such directory"),
        ({"dtype": "int8"}, r"allowed: auto, float32, bfloat16, float16, float64"),
        ({"device": "cuda:99"}, r"model\.device=cuda:99 is not available.*model\.device=auto"),
        ({"device": "gpu"}, r"model\.device=gpu is not available"),
        ({"revision": "v2"}, "only models of the Hub have revisions"),
        ({"bos": "sometimes"}, "allowed: auto, always, never"),
        ({"random_init": True, "device_map": "auto"}, r"model\.device_map=null"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], pattern: str, llama: Path) -> None:
    refused(pattern, ModelConfig(**({"name": str(llama)} | settings)))


def test_directory_without_a_config(tmp_path: Path) -> None:
    refused("holds no config.json", ModelConfig(name=str(tmp_path)))


def test_damaged_config(llama: Path) -> None:
    (llama / "config.json").write_text('{"model_type": "llama",')
    refused(r"its config cannot be read .*not a valid JSON", ModelConfig(name=str(llama)))


def test_impossible_config(llama: Path) -> None:
    config = json.loads((llama / "config.json").read_text())
    (llama / "config.json").write_text(json.dumps(config | {"num_attention_heads": 5}))
    refused("its config cannot be read .*not a multiple", ModelConfig(name=str(llama)))


def test_unknown_architecture(llama: Path) -> None:
    config = json.loads((llama / "config.json").read_text())
    (llama / "config.json").write_text(json.dumps(config | {"model_type": "lama"}))
    refused("lama", ModelConfig(name=str(llama)))


@pytest.mark.parametrize("family", ["llama_gqa", "bert", "gpt2", "t5", "roberta", "bloom"])
def test_missing_tokenizer(tmp_path: Path, family: str) -> None:
    """For some families transformers makes up a tokenizer with an empty vocabulary."""
    tiny_checkpoints.write_checkpoint(tmp_path, family)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).unlink()
    refused("no tokenizer files|its tokenizer cannot be read", ModelConfig(name=str(tmp_path)))


def test_tokenizer_of_another_model(llama: Path) -> None:
    tiny_models.build("llama_gqa", torch.float32, vocab_size=100).save_pretrained(llama)
    with pytest.raises(UserError, match=r"gives token \d{3}, and the model knows 100"):
        opened(llama).encode(["The old sailor"])


def test_pickled_weights_are_refused(llama: Path) -> None:
    (llama / "model.safetensors").rename(llama / "pytorch_model.bin")
    refused(
        r"model\.safetensors is missing; pytorch_model\.bin is a pickle, which could execute code"
        r".*save_pretrained",
        ModelConfig(name=str(llama)),
    )


def test_missing_shard(llama: Path) -> None:
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (llama / "model.safetensors.index.json").write_text(json.dumps(index))
    (llama / "model.safetensors").rename(llama / "model-1.safetensors")
    refused(r"model-2\.safetensors is missing", ModelConfig(name=str(llama)))


def test_damaged_weights(llama: Path) -> None:
    path = llama / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    refused("its weights cannot be read", ModelConfig(name=str(llama), device="cpu"), load=True)


def test_missing_weights_are_not_made_up(tmp_path: Path) -> None:
    """transformers would fill them with random numbers and warn."""
    body = tiny_models.build("llama_gqa", torch.float32, vocab_size=320)
    state = body.state_dict()
    state.pop("layers.1.self_attn.o_proj.weight")
    body.save_pretrained(tmp_path, state_dict=state)
    tiny_checkpoints.make_tokenizer().save_pretrained(tmp_path)
    refused(
        r"lacks 1 weights of LlamaModel.*layers\.1\.self_attn\.o_proj\.weight",
        ModelConfig(name=str(tmp_path), device="cpu"),
        load=True,
    )


def test_weights_of_another_shape(llama: Path) -> None:
    config = json.loads((llama / "config.json").read_text())
    (llama / "config.json").write_text(json.dumps(config | {"intermediate_size": 40}))
    refused(
        r"mlp\.\w+\.weight is \[\d+, \d+\] in the checkpoint, and \[.*40.*\] by its config",
        ModelConfig(name=str(llama), device="cpu"),
        load=True,
    )


def test_code_in_the_repository_is_not_executed(llama: Path) -> None:
    config = json.loads((llama / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine"}}
    (llama / "config.json").write_text(json.dumps(config))
    marker = llama / "executed"
    (llama / "mine.py").write_text(f"open({str(marker)!r}, 'w')\nclass Mine: pass\n")
    refused(r"code of its own.*model\.trust_remote_code=true", ModelConfig(name=str(llama)))
    assert not marker.exists()


def test_unknown_kernel(llama: Path) -> None:
    settings = ModelConfig(name=str(llama), device="cpu", attention="fast")
    refused(r"model\.name=.*fast", settings, load=True)
