"""Tiny models for what stands on the residual stream: the families, and kinds that they lack."""

from __future__ import annotations

import functools
from typing import Any

import torch
import transformers

from probes.models.experts import ONE_BY_ONE
from tests import tiny_models
from tests.tiny_families import CONTEXT, ENDS, FAMILIES, GPT, LLAMA, VOCABULARY

EXTRA: dict[str, tuple[Any, dict[str, Any]]] = {
    "granite": (
        transformers.GraniteConfig,
        LLAMA
        | {
            "embedding_multiplier": 3.0,
            "residual_multiplier": 0.22,
            "attention_multiplier": 0.3,
            "logits_scaling": 4.0,
        },
    ),
    "olmo2": (transformers.Olmo2Config, LLAMA),
    "olmo": (transformers.OlmoConfig, LLAMA),  # norms without parameters
    "qwen2": (transformers.Qwen2Config, LLAMA),  # biases, but not of the projection
    "cohere": (transformers.CohereConfig, LLAMA | {"logit_scale": 0.3}),
    "gpt_neox_sequential": (
        transformers.GPTNeoXConfig,
        {
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "use_parallel_residual": False,
            "max_position_embeddings": CONTEXT,
        }
        | ENDS,
    ),
    "jamba": (  # layers without attention
        transformers.JambaConfig,
        LLAMA
        | {
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "num_experts": 2,
            "use_mamba_kernels": False,
            "mamba_d_state": 4,
        },
    ),
}
POST_NORM = {
    "openai_gpt": (transformers.OpenAIGPTConfig, GPT),
    "opt_post_norm": (
        transformers.OPTConfig,
        FAMILIES["opt"].options | {"do_layer_norm_before": False},
    ),
}
"""Decoders that normalise the sum of residual stream and output."""

ENCODER_POST_NORM = ("bert", "roberta", "distilbert", "deberta_v2")
TO_LOGITS = [name for name, family in FAMILIES.items() if family.kind != "encoder"]
ADDITIVE = [name for name in [*TO_LOGITS, *EXTRA] if name != "bart"]


@functools.cache
def with_head(name: str, dtype: torch.dtype = torch.float64) -> Any:
    """A random model with its language-model head, of a family or one of the above."""
    if name in FAMILIES:
        return tiny_models.build_with_head(name, dtype)
    kind, options = (EXTRA | POST_NORM)[name]
    config = kind(**({"vocab_size": VOCABULARY} | options))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        # Grouped products of experts know no float64.
        experts = ONE_BY_ONE if name == "jamba" else {}
        model = transformers.AutoModelForCausalLM.from_config(config, **experts)
    return tiny_models.randomise(model, dtype)
