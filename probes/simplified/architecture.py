"""Small Hugging Face decoders by name, with fresh weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers

from probes.config import SimplifiedConfig
from probes.config.choices import check_choices
from probes.core.errors import UserError
from probes.models.hf_messages import quiet


def _llama(config: SimplifiedConfig, shared: dict[str, Any]) -> Any:
    return transformers.LlamaConfig(
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=config.mlp,
        max_position_embeddings=config.context,
        **shared,
    )


def _smollm3(config: SimplifiedConfig, shared: dict[str, Any]) -> Any:
    # As llama, but its layers may differ in how far back they read.
    near = config.window > 0
    return transformers.SmolLM3Config(
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        intermediate_size=config.mlp,
        max_position_embeddings=config.context,
        use_sliding_window=near,
        sliding_window=config.window or None,
        layer_types=["sliding_attention"] * near + ["full_attention"] * (config.layers - near),
        no_rope_layers=[1] * config.layers,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},  # llama's
        tie_word_embeddings=False,
        **shared,
    )


def _gpt2(config: SimplifiedConfig, shared: dict[str, Any]) -> Any:
    return transformers.GPT2Config(
        n_embd=config.width,
        n_layer=config.layers,
        n_head=config.heads,
        n_inner=config.mlp,
        n_positions=config.context,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        resid_pdrop=0.0,
        **shared,
    )


def _gpt_neox(config: SimplifiedConfig, shared: dict[str, Any]) -> Any:
    return transformers.GPTNeoXConfig(
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=config.mlp,
        max_position_embeddings=config.context,
        **shared,
    )


ARCHITECTURES: dict[str, Callable[[SimplifiedConfig, dict[str, Any]], Any]] = {
    "llama": _llama,
    "smollm3": _smollm3,
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
}


def check_shape(config: SimplifiedConfig) -> None:
    """Check a configuration before anything is trained.

    Raises:
        UserError: an unknown architecture, or a shape that it cannot have.
    """
    key = "model.simplified"
    check_choices(config, f"{key}.")
    for name in ("layers", "heads", "width", "context", "steps", "batch_size", "evaluate_every"):
        if getattr(config, name) < 1:
            raise UserError(f"{key}.{name}={getattr(config, name)}", allowed="1 and more")
    if config.mlp < 0:
        raise UserError(f"{key}.mlp={config.mlp}", allowed="0 (attention only) and more")
    if config.mlp == 0 and config.architecture == "gpt2":
        # Its convolutions reshape their input, which is ambiguous for zero units.
        raise UserError(
            f"{key}.mlp=0: gpt2 needs its feed-forward layers",
            fix=f"{key}.architecture=llama, or {key}.mlp={4 * config.width}",
        )
    if config.window < 0 or (config.window and config.architecture != "smollm3"):
        raise UserError(
            f"{key}.window={config.window} {key}.architecture={config.architecture}",
            allowed="0, and more with smollm3",
            fix=f"{key}.architecture=smollm3" if config.window > 0 else f"{key}.window=0",
        )
    if config.learning_rate <= 0 or config.warmup < 0:
        raise UserError(
            f"{key}.learning_rate={config.learning_rate} {key}.warmup={config.warmup}",
            allowed="a learning rate above 0 and a warmup of 0 or more steps",
        )
    if config.spread <= 0:
        raise UserError(
            f"{key}.spread={config.spread}", allowed="above 0", fix=f"{key}.spread=0.02"
        )
    if config.target is not None and not 0 < config.target <= 1:
        raise UserError(f"{key}.target={config.target}", allowed="above 0, at most 1, or null")
    # Rotary position embeddings rotate pairs of a head's units.
    unit = config.heads if config.architecture == "gpt2" else 2 * config.heads
    if config.width % unit:
        pairs = "" if unit == config.heads else ", each an even number of units wide"
        raise UserError(
            f"{key}.width={config.width} cannot be shared by {config.heads} heads{pairs}",
            allowed=f"multiples of {unit}",
            fix=f"{key}.width={-(-config.width // unit) * unit}",
        )
    beyond = [step for step in config.checkpoints if not 0 <= step <= config.steps]
    if beyond:
        raise UserError(
            f"{key}.checkpoints: {beyond[0]} is no step of this training",
            allowed=f"0 to {config.steps}",
        )


def build_model(config: SimplifiedConfig, vocabulary: int) -> Any:
    """A causal language model with fresh weights, on the CPU, in float32.

    vocabulary: number of tokens. The caller's random generators are left as they were.
    """
    shared: dict[str, Any] = {"vocab_size": vocabulary, "initializer_range": config.spread}
    shared |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": None, "use_cache": False}
    architecture = ARCHITECTURES[config.architecture](config, shared)
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(config.seed)
        return transformers.AutoModelForCausalLM.from_config(architecture, dtype=torch.float32)
