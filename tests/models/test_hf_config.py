"""Kind and context, told from configs alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from benchmarks.tiny_configs import tiny_body
from probes.core.errors import UserError
from probes.models.forward import forward
from probes.models.hf_config import decoder_start, field_of, model_kind, position_limit
from tests import tiny_models
from tests.tiny_families import CONTEXT, FAMILIES


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (transformers.BertConfig(), "encoder"),
        (transformers.BertConfig(is_decoder=True), "decoder"),
        (transformers.ElectraConfig(), "encoder"),
        (transformers.GPT2Config(), "decoder"),
        (transformers.Gemma3Config(), "decoder"),
        (transformers.Gemma3TextConfig(use_bidirectional_attention=True), "encoder"),
        (transformers.MllamaConfig(), "decoder"),
        (transformers.MllamaConfig().get_text_config(), "decoder"),
        (transformers.MT5Config(), "encoder-decoder"),
        (transformers.MarianConfig(), "encoder-decoder"),
        (transformers.PretrainedConfig(architectures=["MineForCausalLM"]), "decoder"),
        (transformers.PretrainedConfig(architectures=["MineForMaskedLM"]), "encoder"),
        (transformers.PretrainedConfig(), "encoder"),
    ],
)
def test_kind(config: Any, kind: str) -> None:
    assert model_kind(config) == kind


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        (transformers.GPT2Config(n_positions=1024), 1024),
        (transformers.RobertaConfig(max_position_embeddings=514), 512),
        (transformers.XLMRobertaConfig(max_position_embeddings=514), 512),
        (transformers.CamembertConfig(max_position_embeddings=514), 512),
        (transformers.MPNetConfig(max_position_embeddings=514), 512),
        (transformers.OPTConfig(max_position_embeddings=2048), 2048),
        (transformers.BartConfig(max_position_embeddings=1024), 1023),
        (transformers.MptConfig(max_seq_len=2048), 2048),
        (transformers.BloomConfig(), None),
        (transformers.T5Config(), None),
        (transformers.Gemma3Config(), transformers.Gemma3TextConfig().max_position_embeddings),
    ],
)
def test_position_limit(config: Any, limit: int | None) -> None:
    assert position_limit(config) == limit


@pytest.mark.parametrize("family", [*FAMILIES, "mpt"])
def test_a_text_of_as_many_tokens_as_the_limit_runs(family: str) -> None:
    """The limit is that of the tables in the model, whatever the tokenizer has to say."""
    body = tiny_body("mpt") if family == "mpt" else tiny_models.build(family, torch.float32)
    limit = position_limit(body.config)
    length = min(limit or CONTEXT, 4 * CONTEXT)
    ids = torch.full((1, length), 5)
    forward(body, model_kind(body.config), ids, torch.ones_like(ids))
    tables = [m for n, m in body.named_modules() if n.endswith(("position_embeddings", "wpe"))]
    assert limit is not None or not tables
    for table in tables:
        assert limit is not None and limit <= table.num_embeddings


def test_the_bias_of_mpt_is_as_long_as_its_context() -> None:
    body = tiny_body("mpt", max_seq_len=8)
    ids = torch.full((1, 9), 5)
    assert position_limit(body.config) == 8
    with pytest.raises(RuntimeError, match="must match"):
        forward(body, "decoder", ids, torch.ones_like(ids))


def test_decoder_start() -> None:
    assert decoder_start(tiny_models.config_of("t5")) == 0
    assert decoder_start(transformers.BartConfig()) == 2
    assert decoder_start(transformers.T5GemmaConfig()) == 2
    assert decoder_start(transformers.PretrainedConfig()) == 0


def test_missing_field_is_named() -> None:
    with pytest.raises(UserError, match="has no hidden_size"):
        field_of(transformers.PretrainedConfig(), "hidden_size")


def test_causal_text_towers_are_decoders() -> None:
    """Of models that write about images; their text parts have no causal class of their own."""
    whole = transformers.Qwen2VLConfig()
    for config in (whole, whole.get_text_config(), transformers.Qwen2_5_VLConfig()):
        assert model_kind(config) == "decoder"
    for config in (transformers.CLIPTextConfig(), transformers.CLIPConfig()):
        assert model_kind(config) == "decoder"
    assert model_kind(transformers.SiglipTextConfig()) == "encoder"
