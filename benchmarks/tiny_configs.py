"""A tiny model of any config class of transformers, made from the class' own defaults.

Sizes are cut by the names of their fields, which most classes share; lists with an entry for each
layer keep one layer of each kind. What a class needs beyond that stands in ``OVERRIDES``.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from probes.models.handle import body_class
from probes.models.language_model import body_of

VOCABULARY, CONTEXT = 96, 64
LAYERS = r"(num_hidden_layers|n_layers?|num_layers|(num_)?(en|de)coder_layers)"

SIZES: tuple[tuple[str, int], ...] = (
    (r".*vocab_size.*", VOCABULARY),
    (LAYERS, 2),
    (r"(num_attention_heads|n_heads?|num_heads|attention_heads|(en|de)coder_attention_heads)", 4),
    (r"(num_key_value_heads|num_kv_heads)", 2),
    (r"(hidden_size|d_model|n_embd|dim|emb_dim|embedding_size|word_embed_proj_dim)", 32),
    (r"true_hidden_size", 32),
    (r".*(intermediate_size|ffn_dim|ffn_hidden_size).*|n_inner|hidden_dim|d_ff|dff", 48),
    (r"(max_position_embeddings|n_positions|max_seq_len|n_ctx|seq_length)", CONTEXT),
    (r"(head_dim|d_kv|kv_channels|global_head_dim|attention_head_dim)", 16),
    (r"(num_experts|num_local_experts|n_routed_experts|moe_num_experts)", 4),
    (r"(num_experts_per_tok|moe_topk|moe_top_k|num_experts_per_token|top_k_experts|moe_k)", 2),
    (r"(q_lora_rank|kv_lora_rank)", 12),
    (r"(sliding_window|attention_window|local_attention|window_size)", 8),
    (r"n_group", 2),
    (r"topk_group", 1),
    (r"qk_rope_head_dim", 4),
    (r"qk_nope_head_dim", 6),
    (r"v_head_dim", 10),
)
"""Pattern of a field's name, and its size in a tiny model."""

ROTARY = {"head_dim": 4}
"""Of latent attention, where ``head_dim`` is the part that is rotated."""
WIDE = {"head_dim": 16}
OVERRIDES: dict[str, dict[str, Any]] = {
    "axk1": ROTARY | {"num_key_value_heads": 4},
    "axk2": ROTARY | {"num_key_value_heads": 4},
    "bamba": {"mamba_n_heads": 4, "mamba_d_head": 16, "attn_layer_indices": [1]},
    "codegen": {"rotary_dim": 4},
    "deepseek_v2": ROTARY | {"num_experts_per_tok": 2, "num_key_value_heads": 4},
    "deepseek_v3": ROTARY | {"num_key_value_heads": 4},
    "deepseek_v32": ROTARY | {"num_key_value_heads": 4},
    "dots1": {
        "n_routed_experts": 4,
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
        "num_key_value_heads": 4,
    },
    "dots3_note_text": {"num_key_value_heads": 4},
    "esm": {"vocab_size": VOCABULARY, "pad_token_id": 1},
    "esmc": {"num_key_value_heads": 4, "head_dim": 8},
    "funnel": {"block_sizes": [1, 1], "block_repeats": [1, 1], "d_head": 8, "d_inner": 48},
    "gemma3n_text": {"num_kv_shared_layers": 0},
    "glm4_moe_lite": ROTARY | {"num_key_value_heads": 4},
    "glm_moe_dsa": ROTARY | {"num_key_value_heads": 4},
    "gptj": {"rotary_dim": 4},
    "granitemoehybrid": {
        "mamba_n_heads": 4,
        "mamba_d_head": 16,
        "layer_types": ["mamba", "attention"],
    },
    "helium": {"head_dim": 8, "num_key_value_heads": 4},
    "hunyuan_v1_dense": WIDE,
    "hunyuan_v1_moe": WIDE,
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 4},
    "kimi_linear": ROTARY | {"num_key_value_heads": 4},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "minicpm3": ROTARY | {"num_key_value_heads": 4},
    "ministral": WIDE,
    "mobilebert": {"intra_bottleneck_size": 32, "use_bottleneck": False},
    "nemotron": WIDE | {"num_key_value_heads": 4},
    "recurrent_gemma": {"num_hidden_layers": 3},
    "reformer": {
        "axial_pos_embds": False,
        "attn_layers": ["local", "local"],
        "attention_head_size": 8,
        "feed_forward_size": 48,
    },
    "xlnet": {"d_head": 8},
    "xmod": {"default_language": "en_XX"},
    "youtu": ROTARY | {"num_key_value_heads": 4},
    "zaya": {"num_experts_per_tok": 1},
}
"""What a class needs beyond ``SIZES``, by model type; of a part of a config by the part's type."""


def tiny_config(model_type: str, **options: Any) -> Any:
    """The config of that type with everything small that makes a model large."""
    cls = CONFIG_MAPPING[model_type]
    return cls.from_dict(_small(cls().to_dict()) | options)


def tiny_body(model_type: str, seed: int = 0, **options: Any) -> nn.Module:
    """The body of that model, as a run reads it, with random weights that all matter."""
    config = tiny_config(model_type, **options)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        body = body_of(body_class(config).from_config(config))
        for parameter in body.parameters():
            noise = torch.randn_like(parameter)
            parameter.data = 0.3 * noise if parameter.dim() > 1 else parameter + 0.2 * noise
    return body.eval().requires_grad_(False)


def _small(fields: dict[str, Any]) -> dict[str, Any]:
    small = {name: _cut(name, value) for name, value in fields.items()}
    small |= _layers(fields)
    small.pop("per_layer_config", None)  # of layers that are cut
    return small | OVERRIDES.get(str(fields.get("model_type")), {})


def _cut(name: str, value: Any) -> Any:
    if isinstance(value, dict) and "model_type" in value:
        return _small(value)
    if name.endswith(("_token_id", "_token_index")) and isinstance(value, int):
        return value if value < VOCABULARY else {"bos_token_id": 1, "eos_token_id": 2}.get(name, 0)
    if name.endswith("_token_id") and isinstance(value, list):
        return [2]
    if isinstance(value, int) and not isinstance(value, bool):
        return next((size for pattern, size in SIZES if re.fullmatch(pattern, name)), value)
    return value


def _layers(fields: dict[str, Any]) -> dict[str, Any]:
    """Lists with an entry for each layer, cut to one layer of each kind, two at least."""
    count = next((n for name, n in fields.items() if re.fullmatch(LAYERS, name)), None)
    lists = {n: v for n, v in fields.items() if isinstance(v, list) and v and len(v) == count}
    if not lists:
        return {}
    kinds = list(zip(*(map(str, values) for values in lists.values()), strict=True))
    kept = [i for i, kind in enumerate(kinds) if kinds.index(kind) == i] or [0]
    kept = kept if len(kept) > 1 else [0, 1]
    cut: dict[str, Any] = {name: [values[i] for i in kept] for name, values in lists.items()}
    return cut | {name: len(kept) for name in fields if re.fullmatch(LAYERS, name)}
