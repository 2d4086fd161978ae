"""Models with their language-model head: the same body inside, and the model's own logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from probes.config import ModelConfig
from probes.config.group_checks import SITE_KINDS
from probes.core.errors import UserError
from probes.models.forward import forward
from probes.models.handle import Handle
from probes.models.hf_config import decoder_start
from probes.models.hooks import hooked
from probes.models.language_model import body_of, logits, output_head
from probes.models.loading import open_model
from probes.models.sites import find_sites
from probes.models.verification import verify_sites
from tests import tiny_checkpoints, tiny_models
from tests.tiny_families import FAMILIES

WITH_HEAD = [name for name, family in FAMILIES.items() if family.kind != "encoder"]


def opened(directory: Path, **settings: Any) -> Handle:
    return open_model(ModelConfig(name=str(directory), device="cpu", **settings))


def write_whole(directory: Path, family: str, dtype: torch.dtype = torch.float32) -> Any:
    """A checkpoint with its head; the model that was saved."""
    whole = tiny_models.build_with_head(family, dtype, vocab_size=320)
    whole.save_pretrained(directory)
    tiny_checkpoints.make_tokenizer().save_pretrained(directory)
    return whole


@pytest.mark.parametrize("family", WITH_HEAD)
def test_logits_are_those_of_transformers(family: str, tmp_path: Path) -> None:
    whole = write_whole(tmp_path, family, FAMILIES[family].padded)
    handle = opened(tmp_path)
    model = handle.load(head=True)
    assert type(model) is type(whole)
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    ids, mask = tiny_models.pad(tiny_models.sequences())
    inputs = {"input_ids": ids, "attention_mask": mask}
    if handle.kind == "encoder-decoder":
        start = torch.full((len(ids), 1), decoder_start(handle.config))
        inputs["decoder_input_ids"] = torch.cat([start, ids], dim=1)
        inputs["decoder_attention_mask"] = torch.cat([torch.ones_like(start), mask], dim=1)
    with torch.no_grad():
        expected = model(**inputs).logits
        saved = whole(**inputs).logits
    got = logits(model, handle.kind, ids, mask)
    offset = int(handle.kind == "encoder-decoder")
    real = torch.cat([torch.ones(len(ids), offset), mask], dim=1).bool()
    assert got.shape == expected.shape == (3, 12 + offset, expected.shape[2])
    # Constants made in float64 differ from those that were rounded to float32 before.
    torch.testing.assert_close(expected[real], saved[real], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(got[real], expected[real], rtol=0, atol=FAMILIES[family].tolerance)
    sequence, token = np.array([2, 0, 1, 0]), np.array([3, 6, 11, 0])
    some = logits(model, handle.kind, ids, mask, at=(sequence, token))
    torch.testing.assert_close(
        some, expected[sequence, token + offset], rtol=0, atol=FAMILIES[family].tolerance
    )
    assert not output_head(model)._forward_pre_hooks


@pytest.mark.parametrize("family", WITH_HEAD)
def test_the_body_inside_is_the_body(family: str, tmp_path: Path) -> None:
    """Its sites are found in the same way, are verified, and have the same weights."""
    write_whole(tmp_path, family)
    handle = opened(tmp_path)
    alone, inside = handle.load(), body_of(handle.load(head=True))
    for kind in SITE_KINDS:
        sites = find_sites(inside, kind)
        assert sites == find_sites(alone, kind)
        verify_sites(inside, sites)
    weights = inside.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in alone.state_dict().items())
    assert body_of(alone) is alone


def test_weights_are_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(tmp_path, "llama_gqa")
    calls: list[type] = []
    real = vars(transformers.PreTrainedModel)["from_pretrained"].__func__

    def counting(cls: type, *args: Any, **options: Any) -> Any:
        calls.append(cls)
        return real(cls, *args, **options)

    monkeypatch.setattr(transformers.PreTrainedModel, "from_pretrained", classmethod(counting))
    model = opened(tmp_path).load(head=True)
    assert calls == [transformers.LlamaForCausalLM]
    assert body_of(model) is model.model


@pytest.mark.parametrize("family", ["gpt2", "llama_gqa", "bart", "t5"])
def test_fresh_weights_of_the_body_do_not_depend_on_the_head(family: str, tmp_path: Path) -> None:
    write_whole(tmp_path, family)
    handle = opened(tmp_path, random_init=True, random_seed=3)
    weights = body_of(handle.load(head=True)).state_dict()
    for name, value in handle.load().state_dict().items():
        assert torch.equal(weights[name], value)
    again = handle.load(head=True).state_dict()
    assert all(
        torch.equal(again[name], x) for name, x in handle.load(head=True).state_dict().items()
    )


def test_gradients_reach_a_leaf(tmp_path: Path) -> None:
    write_whole(tmp_path, "gpt2")
    handle = opened(tmp_path)
    model = handle.load(head=True)
    ids, mask = tiny_models.pad(tiny_models.sequences())
    assert logits(model, handle.kind, ids, mask).is_inference()
    assert not logits(model, handle.kind, ids, mask, gradients=True).is_inference()


def test_text_part_of_a_multimodal_model(tmp_path: Path) -> None:
    text = tiny_models.config_of("gemma3", vocab_size=320)
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    config = transformers.Gemma3Config(
        text_config=text.to_dict(),
        vision_config=vision | {"num_attention_heads": 2, "image_size": 28, "patch_size": 14},
        image_token_id=3,  # type: ignore[call-arg]
    )
    whole = tiny_models.randomise(transformers.AutoModelForCausalLM.from_config(config))
    whole.save_pretrained(tmp_path)
    tiny_checkpoints.make_tokenizer().save_pretrained(tmp_path)
    handle = opened(tmp_path)
    model = handle.load(head=True)
    body = body_of(model)
    assert type(body).__name__ == "Gemma3TextModel"
    verify_sites(body, find_sites(body))
    ids, mask = tiny_models.pad(tiny_models.sequences((6, 6)))
    ids = ids.clamp(min=4)  # 3 stands for an image
    hidden = forward(body, handle.kind, ids, mask).last_hidden_state
    torch.testing.assert_close(
        logits(model, handle.kind, ids, mask), output_head(model)(hidden), rtol=0, atol=1e-9
    )


# --- refusals ------------------------------------------------------------------------------------


def test_an_encoder_has_no_head_to_open(tmp_path: Path) -> None:
    tiny_checkpoints.write_checkpoint(tmp_path, "bert")
    with pytest.raises(UserError, match=r"is an encoder, which predicts no next token"):
        opened(tmp_path).load(head=True)


def test_a_checkpoint_of_a_body_has_no_head(tmp_path: Path) -> None:
    tiny_checkpoints.write_checkpoint(tmp_path, "llama_gqa")
    with pytest.raises(UserError, match=r"lacks 1 weights of LlamaForCausalLM.*lm_head\.weight"):
        opened(tmp_path).load(head=True)


def test_logits_of_a_body(tmp_path: Path) -> None:
    body = tiny_models.build("llama_gqa")
    with pytest.raises(UserError, match="LlamaModel has no language-model head"):
        logits(body, "decoder", *tiny_models.pad(tiny_models.sequences()))


# --- sites of a body whose head calls its stack itself (OPT) -------------------------------------


@pytest.mark.parametrize("family", WITH_HEAD)
def test_sites_of_the_body_are_visited_in_passes_to_logits(family: str) -> None:
    """Each once in every pass, also after one that was stopped."""
    model = tiny_models.build_with_head(family)
    body, kind = body_of(model), FAMILIES[family].kind
    ids, mask = tiny_models.pad(tiny_models.sequences((6, 6)))
    sites = find_sites(body)
    seen: list[Any] = []
    with hooked(body, sites, lambda site, z: seen.append((site, z.shape[0]))):
        for _ in range(2):
            logits(model, kind, ids, mask)
            forward(body, kind, ids, mask)
    assert seen == 4 * [(site, 2) for site in sites]
    with hooked(body, sites[:1], lambda site, z: None, stop_after_last=True):
        assert forward(model, kind, ids, mask) is None
        assert forward(body, kind, ids, mask) is None
        assert forward(model, kind, ids, mask) is None
