"""Tiny GGUF files, written as llama.cpp's converter does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests import tiny_checkpoints, tiny_models

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""llama.cpp's names of the modules of a Llama."""
CHAT = "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"
EPS = 1e-5


def require() -> Any:
    """The package gguf; the test is skipped where it or accelerate is not installed."""
    pytest.importorskip("accelerate", reason="the extra gguf is not installed")
    return pytest.importorskip("gguf", reason="the extra gguf is not installed")


def tiny_llama(seed: int = 0) -> Any:
    """A random Llama with grouped queries and a head of its own, as the files are made from."""
    return tiny_models.build_with_head(
        "llama_gqa", torch.float32, seed, vocab_size=320, rms_norm_eps=EPS
    )


def write_gguf(
    path: Path,
    model: Any = None,
    *,
    architecture: str = "llama",
    tokenizer: bool = True,
    quantised: bool = False,
    without: str = "",
    rotary_factors: bool = False,
    name: str = "tiny",
) -> Path:
    """Write a GGUF file of ``model`` with the byte-level tokenizer of ``tiny_checkpoints``.

    quantised: matrices whose rows are long enough are stored in 8 bits.
    without: name of a tensor that is left out.
    """
    gguf = require()
    model = tiny_llama() if model is None else model
    config = model.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(name)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    if tokenizer:
        _add_tokenizer(writer)
    for key, weight in model.state_dict().items():
        tensor = _gguf_name(key)
        if tensor == without:
            continue
        values = _as_llama_cpp(key, weight.float().numpy(), config)
        if quantised and values.ndim == 2 and values.shape[1] % 32 == 0:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(tensor, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(tensor, np.ascontiguousarray(values))
    if rotary_factors:
        writer.add_tensor("rope_freqs.weight", np.linspace(1, 8, 4, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: Any) -> None:
    made = tiny_checkpoints.make_tokenizer()
    vocabulary = made.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    special = set(made.all_special_tokens)
    merges = json.loads(made.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_bos_token_id(vocabulary["<s>"])
    writer.add_eos_token_id(vocabulary["</s>"])
    writer.add_unk_token_id(vocabulary["<unk>"])
    writer.add_pad_token_id(vocabulary["<pad>"])
    writer.add_chat_template(CHAT)


def _gguf_name(key: str) -> str:
    module, _, suffix = key.rpartition(".")
    if module.startswith("model.layers."):
        _, _, layer, inside = module.split(".", 3)
        return f"blk.{layer}.{NAMES[inside]}.{suffix}"
    return f"{NAMES[module]}.{suffix}"


def _as_llama_cpp(key: str, values: Any, config: Any) -> Any:
    """llama.cpp orders the rows of queries and keys for its rotary positions."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, count in heads.items():
        if name in key:
            halves = values.reshape(count, 2, -1, values.shape[1])
            return halves.swapaxes(1, 2).reshape(values.shape)
    return values
