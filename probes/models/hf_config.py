"""What a model's config tells about it: kind, text part, context, start token."""

from __future__ import annotations

from typing import Any, Literal

from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from probes.core.errors import UserError

Kind = Literal["encoder", "decoder", "encoder-decoder"]

UNLIMITED = 1 << 20
"""Context of models without a limit (relative positions), in tokens."""

# Positions start after the padding index in these, so two of them (usually) are never used.
PADDED_POSITIONS = {
    *("roberta", "xlm-roberta", "xlm-roberta-xl", "roberta-prelayernorm", "camembert", "xmod"),
    *("data2vec-text", "ibert", "longformer", "mpnet", "esm", "luke", "lilt", "markuplm"),
    "layoutlmv3",
}
# Positions are relative or linear biases; what their configs call positions is no limit.
NO_POSITIONS = {"t5", "mt5", "umt5", "longt5", "switch_transformers", "bloom"}
# Text towers with a causal mask and no head: CLIP and models like it. (SigLIP's is bidirectional.)
CAUSAL_TOWERS = {
    *("clip_text_model", "clipseg_text_model", "groupvit_text_model", "metaclip_2_text_model"),
    *("owlvit_text_model", "owlv2_text_model", "xclip_text_model"),
}
POSITION_FIELDS = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_seq_len",
    "max_sequence_length",
    "seq_length",
)


def text_config(config: Any) -> Any:
    """The part of a multimodal config that describes the language model, or the config."""
    return config if config.is_encoder_decoder else config.get_text_config()


def field_of(config: Any, *names: str) -> int:
    """The first of these fields that is a number: of the text part, the whole, or the stacks."""
    stacks = (getattr(config, "decoder", None), getattr(config, "encoder", None))
    for name in names:
        for part in (text_config(config), config, *stacks):
            value = getattr(part, name, None)
            if isinstance(value, int):
                return value
    raise UserError(f"the config of {config.model_type} has no {' or '.join(names)}")


def model_kind(config: Any) -> Kind:
    """encoder, decoder or encoder-decoder, from the config's type and architectures."""
    text = text_config(config)
    if config.is_encoder_decoder:
        return "encoder-decoder"
    if getattr(text, "use_bidirectional_attention", False) is True:
        return "encoder"
    if getattr(text, "is_decoder", False) or text.model_type in CAUSAL_TOWERS:
        return "decoder"
    # The text part of a multimodal model is often called after the whole.
    whole = text.model_type.removesuffix("_model").removesuffix("_text")
    for name in (text.model_type, config.model_type, whole):
        # BERT and models like it have a causal variant too, so masked comes first.
        if name in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
            return "encoder"
        if name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            return "decoder"
        # Text towers of models that write about images (Qwen-VL's) have no causal class of theirs.
        if name in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
            return "decoder"
    classes = " ".join([*(config.architectures or []), *(getattr(config, "auto_map", None) or {})])
    causal = "ForCausalLM" in classes or "LMHeadModel" in classes
    return "decoder" if causal and "ForMaskedLM" not in classes else "encoder"


def position_limit(config: Any) -> int | None:
    """Most tokens that the model can take; None where its positions are relative."""
    text = text_config(config)
    if text.model_type in NO_POSITIONS:
        return None
    limits = (getattr(text, name, None) for name in POSITION_FIELDS)
    limit = next((value for value in limits if isinstance(value, int) and value > 0), None)
    if limit is None:
        return None
    if text.model_type in PADDED_POSITIONS:
        limit -= (text.pad_token_id or 0) + 1
    # The decoder reads the text after its start token.
    return limit - 1 if config.is_encoder_decoder else limit


def special_tokens(config: Any) -> set[int]:
    """Ids that a config gives a meaning: padding, ends of texts, places of images."""
    found: set[int] = set()
    for part in (text_config(config), config):
        for name, value in part.to_dict().items():
            if name.endswith(("_token_id", "_token_index", "_token_ids")):
                values = value if isinstance(value, list) else [value]
                found.update(v for v in values if isinstance(v, int))
    return found


def decoder_start(config: Any) -> int:
    """The token that an encoder-decoder's decoder starts with."""
    for name in ("decoder_start_token_id", "bos_token_id", "pad_token_id"):
        value = getattr(config, name, None)
        if value is not None:
            return int(value)
    return 0
