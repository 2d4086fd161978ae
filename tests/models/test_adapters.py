"""Adapters beside a model or alone: what is applied is part of the fingerprint, else refused."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor

from probes.config import ModelConfig
from probes.core.errors import UserError
from probes.models.checkpoints import local_directory
from probes.models.forward import forward
from probes.models.loading import open_model
from probes.models.sites import find_sites
from probes.models.verification import verify_sites
from tests import tiny_checkpoints, tiny_models

RANK = 2


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return tiny_checkpoints.write_checkpoint(tmp_path / "llama")


def installed(monkeypatch: pytest.MonkeyPatch, *, peft: bool) -> None:
    """Pretend that peft is there, or is not: opening a model does not import it."""
    found = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> Any:
        if name == "peft":
            return found("json") if peft else None
        return found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)


def write_adapter(
    directory: Path, base: object, *, seed: int = 0, targets: tuple[str, ...] = ("v_proj",)
) -> dict[str, Tensor]:
    """A LoRA adapter for the tiny Llama, as peft saves it; what it adds to each weight."""
    body = tiny_models.build("llama_gqa", torch.float32, vocab_size=320)
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    added: dict[str, Tensor] = {}
    for name, weight in body.state_dict().items():
        if any(f".{target}.weight" in name for target in targets):
            down = 0.3 * torch.randn(RANK, weight.shape[1], generator=generator)
            up = 0.3 * torch.randn(weight.shape[0], RANK, generator=generator)
            key = f"base_model.model.model.{name.removesuffix('.weight')}"
            tensors |= {f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up}
            added[name] = up @ down * 4 / RANK
    directory.mkdir(exist_ok=True)
    save_file(tensors, directory / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(base),
        "r": RANK,
        "lora_alpha": 4,
        "target_modules": list(targets),
        "bias": "none",
        "inference_mode": True,
    }
    (directory / "adapter_config.json").write_text(json.dumps(config))
    return added


def fingerprint(directory: Path, **settings: Any) -> str:
    return open_model(ModelConfig(name=str(directory), device="cpu", **settings)).fingerprint


def test_adapter_is_part_of_the_fingerprint(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, peft=True)
    plain, fresh = fingerprint(llama), fingerprint(llama, random_init=True)
    write_adapter(llama, "somewhere")
    beside = fingerprint(llama)
    write_adapter(llama, "somewhere", seed=1)
    other = fingerprint(llama)
    assert len({plain, beside, other}) == 3
    assert fingerprint(llama, random_init=True) == fresh, "nothing is applied to fresh weights"


def test_without_peft_a_model_with_an_adapter_is_refused(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers would give the base model without a word."""
    installed(monkeypatch, peft=False)
    settings = ModelConfig(name=str(llama), device="cpu")
    write_adapter(llama, "someone/base")
    with pytest.raises(UserError, match=r"not installed.*pip install peft; model\.name=someone/ba"):
        local_directory(settings)
    with pytest.raises(UserError, match="peft"):
        open_model(settings)
    fingerprint(llama, random_init=True)


def test_adapter_without_its_model(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The base is opened in its place, and decides the fingerprint with the adapter."""
    installed(monkeypatch, peft=True)
    adapter = tmp_path / "adapter"
    write_adapter(adapter, llama)
    handle = open_model(ModelConfig(name=str(adapter), device="cpu"))
    assert handle.source == str(llama) and handle.name == str(adapter)
    assert handle.tokenizer_fingerprint == open_model(ModelConfig(str(llama))).tokenizer_fingerprint
    assert handle.fingerprint != fingerprint(llama)
    tiny_checkpoints.write_checkpoint(llama, seed=1)
    assert handle.fingerprint != fingerprint(adapter)


@pytest.mark.parametrize(
    ("base", "pattern"),
    [
        ("", "base_model_name_or_path is empty"),
        ("/no/such/base", "/no/such/base: no such directory"),
        (None, "is no model"),
    ],
)
def test_adapter_whose_base_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str | None, pattern: str
) -> None:
    installed(monkeypatch, peft=True)
    write_adapter(tmp_path / "adapter", tmp_path / "adapter" if base is None else base)
    with pytest.raises(UserError, match=pattern):
        local_directory(ModelConfig(name=str(tmp_path / "adapter")))


def test_pickled_adapter_is_refused(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, peft=True)
    write_adapter(llama, "someone/base")
    (llama / "adapter_model.safetensors").rename(llama / "adapter_model.bin")
    with pytest.raises(UserError, match=r"adapter_model\.safetensors is missing.*safetensors for"):
        open_model(ModelConfig(name=str(llama)))


# --- with peft itself ----------------------------------------------------------------------------


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("head", [False, True])
def test_adapter_is_applied(llama: Path, tmp_path: Path, alone: bool, head: bool) -> None:
    pytest.importorskip("peft")
    place = tmp_path / "adapter" if alone else llama
    added = write_adapter(place, llama, targets=("v_proj", "o_proj"))
    expected = tiny_models.build("llama_gqa", torch.float32, vocab_size=320)
    state = {name: weight.clone() for name, weight in expected.state_dict().items()}
    expected.load_state_dict(state | {name: state[name] + more for name, more in added.items()})
    if head:
        config = tiny_models.config_of("llama_gqa", vocab_size=320)
        whole = transformers.AutoModelForCausalLM.from_config(config)
        whole.model.load_state_dict(state)
        whole.save_pretrained(llama)
    loaded: Any = open_model(ModelConfig(name=str(place), device="cpu")).load(head=head)
    body = loaded.model if head else loaded
    ids, mask = tiny_models.pad(tiny_models.sequences())
    ours = forward(body, "decoder", ids, mask).last_hidden_state
    theirs = expected(ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(ours[mask == 1], theirs[mask == 1], atol=1e-5, rtol=1e-4)
    verify_sites(body, find_sites(body))
    verify_sites(body, find_sites(body, "mlp_output"))
    assert not any(p.requires_grad for p in loaded.parameters())


def test_missing_weights(llama: Path) -> None:
    """Weights that are missing from the model, or from the adapter, would be random numbers."""
    pytest.importorskip("peft")
    write_adapter(llama, "someone/base")
    whole = tiny_models.build("llama_gqa", torch.float32, vocab_size=320)
    state = whole.state_dict()
    state.pop("layers.1.self_attn.o_proj.weight")
    whole.save_pretrained(llama, state_dict=state)
    with pytest.raises(UserError, match=r"lacks 1 weights.*o_proj\.weight"):
        open_model(ModelConfig(name=str(llama), device="cpu")).load()
    whole.save_pretrained(llama)
    config = json.loads((llama / "adapter_config.json").read_text())
    config["target_modules"] = ["v_proj", "q_proj"]
    (llama / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"lacks 4 weights of the adapter.*q_proj"):
        open_model(ModelConfig(name=str(llama), device="cpu")).load()
