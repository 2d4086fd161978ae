"""Tiny configs, one for each family of models, and what a model made from each should have.

What each family should be found to have (streams, heads, widths) is written beside its config, by
hand: it is what the tests compare the discovery with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers

from probes.models.hf_config import Kind

VOCABULARY = 96
CONTEXT = 64


@dataclass(frozen=True)
class Family:
    """A config and the head sites that a model made from it has."""

    config: Callable[..., Any]
    options: dict[str, Any]
    kind: Kind
    heads: dict[str, list[tuple[int, int]]]
    """For each stream, (heads, width) of each of its layers."""
    left_padding: bool = True
    """Whether padding on the left can be exact: not with absolute positions that are fixed."""
    tolerance: float = 1e-9
    """Of batched against single; some layers compute in float32 whatever the dtype."""
    padded: torch.dtype = torch.float64
    """Dtype of tests with padding: eager attention forms its softmax in float32, where the mask
    of a float64 model is minus infinity and rows that see nothing are not a number."""


def decoder(heads: int, width: int, layers: int = 2) -> dict[str, list[tuple[int, int]]]:
    """All layers of a decoder alike."""
    return {"decoder": [(heads, width)] * layers}


def encoder(heads: int, width: int, layers: int = 2) -> dict[str, list[tuple[int, int]]]:
    """All layers of an encoder alike."""
    return {"encoder": [(heads, width)] * layers}


# Options that most decoder families share.
LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
BERT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": 0,
}
ENDS = {"bos_token_id": 1, "eos_token_id": 2}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT} | ENDS
MOE = {"num_local_experts": 4, "num_experts_per_tok": 2}

FAMILIES: dict[str, Family] = {
    "gpt2": Family(transformers.GPT2Config, GPT, "decoder", decoder(4, 8)),
    "gpt_neo": Family(
        transformers.GPTNeoConfig,
        {
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 4,
            "max_position_embeddings": CONTEXT,
        }
        | ENDS,
        "decoder",
        decoder(4, 8),
        tolerance=1e-4,
    ),
    "gptj": Family(
        transformers.GPTJConfig, GPT | {"rotary_dim": 4}, "decoder", decoder(4, 8), tolerance=1e-4
    ),
    "gpt_neox": Family(
        transformers.GPTNeoXConfig,
        {k: v for k, v in BERT.items() if k != "pad_token_id"},
        "decoder",
        decoder(4, 8),
    ),
    "opt": Family(
        transformers.OPTConfig,
        {
            "hidden_size": 32,
            "ffn_dim": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": CONTEXT,
            "word_embed_proj_dim": 32,
        },
        "decoder",
        decoder(4, 8),
    ),
    "bloom": Family(
        transformers.BloomConfig,
        {"hidden_size": 32, "n_layer": 2, "n_head": 4},
        "decoder",
        decoder(4, 8),
        tolerance=2e-4,
        padded=torch.float32,
    ),
    "falcon": Family(
        transformers.FalconConfig,
        {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": CONTEXT,
        },
        "decoder",
        decoder(4, 8),
    ),
    "phi": Family(
        transformers.PhiConfig, LLAMA | {"partial_rotary_factor": 0.5}, "decoder", decoder(4, 8)
    ),
    "llama_gqa": Family(transformers.LlamaConfig, LLAMA, "decoder", decoder(4, 8)),
    "llama_head_dim": Family(
        transformers.LlamaConfig, LLAMA | {"head_dim": 12}, "decoder", decoder(4, 12)
    ),
    "mistral": Family(
        transformers.MistralConfig, LLAMA | {"sliding_window": 4}, "decoder", decoder(4, 8)
    ),
    "mixtral": Family(transformers.MixtralConfig, LLAMA | MOE, "decoder", decoder(4, 8)),
    "qwen3": Family(transformers.Qwen3Config, LLAMA | {"head_dim": 16}, "decoder", decoder(4, 16)),
    "qwen3_next": Family(
        transformers.Qwen3NextConfig,
        LLAMA
        | {
            "head_dim": 16,
            "num_hidden_layers": 4,
            "linear_num_value_heads": 6,
            "linear_num_key_heads": 3,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 4,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 16,
            "shared_expert_intermediate_size": 16,
        },
        "decoder",
        {"decoder": [(6, 4), (6, 4), (6, 4), (4, 16)]},
        tolerance=1e-3,
    ),
    "gemma2": Family(
        transformers.Gemma2Config,
        LLAMA | {"head_dim": 16, "sliding_window": 4},
        "decoder",
        decoder(4, 16),
        tolerance=2e-4,
        padded=torch.float32,
    ),
    "gemma3": Family(
        transformers.Gemma3TextConfig,
        LLAMA | {"head_dim": 16, "sliding_window": 4},
        "decoder",
        decoder(4, 16),
    ),
    "gpt_oss": Family(
        transformers.GptOssConfig,
        LLAMA | MOE | {"head_dim": 16, "sliding_window": 4},
        "decoder",
        decoder(4, 16),
    ),
    "deepseek_v3": Family(
        transformers.DeepseekV3Config,
        LLAMA
        | {
            "num_key_value_heads": 4,
            "moe_intermediate_size": 16,
            "n_routed_experts": 4,
            "n_group": 2,
            "topk_group": 1,
            "num_experts_per_tok": 2,
            "first_k_dense_replace": 1,
            "q_lora_rank": 12,
            "kv_lora_rank": 12,
            "qk_rope_head_dim": 4,
            "qk_nope_head_dim": 6,
            "v_head_dim": 10,
        },
        "decoder",
        decoder(4, 10),
        tolerance=1e-4,
    ),
    "bitnet": Family(transformers.BitNetConfig, LLAMA, "decoder", decoder(4, 8)),
    "bert": Family(transformers.BertConfig, BERT, "encoder", encoder(4, 8)),
    "roberta": Family(
        transformers.RobertaConfig,
        BERT | {"pad_token_id": 1, "bos_token_id": 0, "max_position_embeddings": CONTEXT + 2},
        "encoder",
        encoder(4, 8),
    ),
    "distilbert": Family(
        transformers.DistilBertConfig,
        {
            "dim": 32,
            "hidden_dim": 48,
            "n_layers": 2,
            "n_heads": 4,
            "max_position_embeddings": CONTEXT,
        },
        "encoder",
        encoder(4, 8),
    ),
    "modernbert": Family(
        transformers.ModernBertConfig,
        BERT
        | {
            "local_attention": 8,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "cls_token_id": 1,
            "sep_token_id": 2,
        },
        "encoder",
        encoder(4, 8),
    ),
    "deberta_v2": Family(
        transformers.DebertaV2Config,
        BERT
        | {
            "relative_attention": True,
            "pos_att_type": ["c2p", "p2c"],
            "position_buckets": 16,
            "position_biased_input": False,
        },
        "encoder",
        encoder(4, 8),
    ),
    "bart": Family(
        transformers.BartConfig,
        {
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 3,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 48,
            "decoder_ffn_dim": 48,
            "max_position_embeddings": CONTEXT,
        },
        "encoder-decoder",
        {"encoder": [(4, 8)] * 2, "decoder": [(2, 16)] * 3, "cross": [(2, 16)] * 3},
        left_padding=False,
    ),
    "t5gemma": Family(
        transformers.T5GemmaConfig,
        {
            "encoder": LLAMA | {"head_dim": 12, "sliding_window": 4},
            "decoder": LLAMA
            | {
                "head_dim": 6,
                "num_hidden_layers": 3,
                "sliding_window": 4,
            },
            **{name: LLAMA[name] for name in ("pad_token_id", "bos_token_id", "eos_token_id")},
        },
        "encoder-decoder",
        {"encoder": [(4, 12)] * 2, "decoder": [(4, 6)] * 3, "cross": [(4, 6)] * 3},
        tolerance=2e-4,
        padded=torch.float32,
    ),
    "t5": Family(
        transformers.T5Config,
        {
            "d_model": 32,
            "d_kv": 6,
            "d_ff": 48,
            "num_layers": 2,
            "num_decoder_layers": 3,
            "num_heads": 4,
            "decoder_start_token_id": 0,
        },
        "encoder-decoder",
        {"encoder": [(4, 6)] * 2, "decoder": [(4, 6)] * 3, "cross": [(4, 6)] * 3},
    ),
}
