"""Opening and loading models: from directories, the package, at random; and every refusal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from probes.config import ModelConfig
from probes.config.group_checks import SITE_KINDS
from probes.core.errors import UserError
from probes.models import dtypes
from probes.models.forward import forward
from probes.models.hf_config import UNLIMITED
from probes.models.loading import open_model
from probes.models.sites import find_sites
from probes.models.verification import verify_sites
from tests import tiny_checkpoints, tiny_models
from tests.models.opening import loaded, opened, refused


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return tiny_checkpoints.write_checkpoint(tmp_path / "llama")


# --- what a handle knows ------------------------------------------------------------------------


def test_handle_of_a_directory(llama: Path) -> None:
    handle = opened(llama)
    assert (handle.kind, handle.context, handle.dtype) == ("decoder", 64, "float32")
    assert (handle.attention, handle.device, handle.pad_id) == ("sdpa", "cpu", 0)
    body: Any = handle.load()
    assert type(body).__name__ == "LlamaModel"
    assert not body.training
    assert not any(p.requires_grad for p in body.parameters())
    assert body.config._attn_implementation == handle.attention


def test_weights_are_those_of_the_checkpoint(llama: Path) -> None:
    expected = tiny_models.build("llama_gqa", torch.float32, vocab_size=320)
    found = loaded(llama).state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.state_dict().items())


def test_language_model_head_is_left_out(tmp_path: Path) -> None:
    """A checkpoint with a head, as most are, gives the same body."""
    config = tiny_models.config_of("gpt2", vocab_size=320)
    whole = tiny_models.randomise(transformers.AutoModelForCausalLM.from_config(config))
    whole.save_pretrained(tmp_path)
    tiny_checkpoints.make_tokenizer().save_pretrained(tmp_path)
    body = loaded(tmp_path)
    assert type(body).__name__ == "GPT2Model"
    ids, mask = tiny_models.pad(tiny_models.sequences())
    torch.testing.assert_close(
        forward(body, "decoder", ids, mask).last_hidden_state,
        whole.transformer(ids, attention_mask=mask).last_hidden_state,
    )


def test_masked_model_without_a_pooler(tmp_path: Path) -> None:
    """BERT's pooler is missing from masked-language checkpoints, and is not read here."""
    config = tiny_models.config_of("bert", vocab_size=320)
    transformers.AutoModelForMaskedLM.from_config(config).save_pretrained(tmp_path)
    tiny_checkpoints.make_tokenizer().save_pretrained(tmp_path)
    assert opened(tmp_path).kind == "encoder"
    assert type(loaded(tmp_path)).__name__ == "BertModel"


def test_text_part_of_a_multimodal_model(tmp_path: Path) -> None:
    text = tiny_models.config_of("gemma3", vocab_size=320)
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    config = transformers.Gemma3Config(
        text_config=text.to_dict(),
        vision_config=vision | {"num_attention_heads": 2, "image_size": 28, "patch_size": 14},
        image_token_id=3,  # type: ignore[call-arg]
    )
    tiny_models.randomise(transformers.AutoModel.from_config(config)).save_pretrained(tmp_path)
    tiny_checkpoints.make_tokenizer().save_pretrained(tmp_path)
    handle = opened(tmp_path)
    body: Any = handle.load()
    assert (handle.kind, handle.context) == ("decoder", 64)
    assert type(body).__name__ == "Gemma3TextModel"
    sites = find_sites(body)
    assert [(s.stream, s.units, s.width) for s in sites] == [("decoder", 4, 16)] * 2
    verify_sites(body, sites)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_dtype(llama: Path, dtype: str) -> None:
    handle = opened(llama, dtype=dtype)
    assert handle.dtype == dtype
    assert {str(p.dtype) for p in handle.load().parameters()} == {f"torch.{dtype}"}


def test_checkpoint_keeps_its_dtype(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dtypes, "cpu_has_bfloat16", lambda: True)
    tiny_checkpoints.write_checkpoint(tmp_path, dtype=torch.bfloat16)
    handle = opened(tmp_path)
    assert handle.dtype == "bfloat16"
    assert next(handle.load().parameters()).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_config_of_older_versions_names_its_dtype_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    """``torch_dtype``, as transformers wrote it before 4.56."""
    monkeypatch.setattr(dtypes, "cpu_has_bfloat16", lambda: True)
    tiny_checkpoints.write_checkpoint(tmp_path, dtype=getattr(torch, dtype))
    config = json.loads((tmp_path / "config.json").read_text())
    config["torch_dtype"] = config.pop("dtype")
    (tmp_path / "config.json").write_text(json.dumps(config))
    handle = opened(tmp_path)
    assert handle.dtype == dtype
    assert next(handle.load().parameters()).dtype == getattr(torch, dtype)


def test_mixture_of_experts_in_float64(tmp_path: Path) -> None:
    """The grouped product of experts knows no float64: another implementation is chosen."""
    body = loaded(tiny_checkpoints.write_checkpoint(tmp_path, "mixtral"), dtype="float64")
    verify_sites(body, find_sites(body))


def test_attention_kernel(llama: Path) -> None:
    handle = opened(llama, attention="eager")
    body: Any = handle.load()
    assert handle.attention == body.config._attn_implementation == "eager"


def test_max_length(llama: Path) -> None:
    assert opened(llama, max_length=16).context == 16
    for wrong in (65, 0, -1):
        with pytest.raises(UserError, match=r"allowed: 1 to 64.*model\.max_length=64"):
            opened(llama, max_length=wrong)


@pytest.mark.parametrize(
    ("family", "context"),
    [("gpt2", 64), ("roberta", 64), ("opt", 64), ("bart", 63), ("t5", UNLIMITED)],
)
def test_context_holds_and_one_token_more_does_not(
    tmp_path: Path, family: str, context: int
) -> None:
    """RoBERTa's first positions are padding, and BART's decoder reads a start token as well."""
    handle = opened(tiny_checkpoints.write_checkpoint(tmp_path, family))
    assert handle.context == context
    body: Any = handle.load()
    ids = torch.full((1, min(context, 200)), 5)
    forward(body, handle.kind, ids, torch.ones_like(ids))
    if context != UNLIMITED:
        ids = torch.full((1, context + 1), 5)
        with pytest.raises((IndexError, RuntimeError)):
            forward(body, handle.kind, ids, torch.ones_like(ids))


def test_context_of_the_tokenizer_where_it_is_shorter(tmp_path: Path) -> None:
    tokenizer = tiny_checkpoints.make_tokenizer(model_max_length=32)
    tiny_checkpoints.write_checkpoint(tmp_path, tokenizer=tokenizer)
    assert opened(tmp_path).context == 32
    assert opened(tmp_path, max_length=64).context == 64


# --- fingerprints --------------------------------------------------------------------------------


def test_fingerprint_is_of_the_weights_and_not_of_the_place(llama: Path, tmp_path: Path) -> None:
    first = opened(llama).fingerprint
    same = tiny_checkpoints.write_checkpoint(tmp_path / "elsewhere")
    other = tiny_checkpoints.write_checkpoint(tmp_path / "other", seed=1)
    assert opened(same).fingerprint == first
    assert opened(other).fingerprint != first
    assert opened(llama, dtype="bfloat16").fingerprint == first


def test_opening_does_not_load_weights(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", fail)
    monkeypatch.setattr(transformers.AutoModel, "from_config", fail)
    opened(llama)
    opened(llama, random_init=True)


# --- fresh weights -------------------------------------------------------------------------------


def test_random_init(llama: Path) -> None:
    trained = loaded(llama)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    handle = opened(llama, random_init=True, random_seed=3)
    fresh = handle.load()
    assert torch.equal(torch.rand(1), expected), "the global generator was touched"
    again = loaded(llama, random_init=True, random_seed=3)
    other = opened(llama, random_init=True, random_seed=4)
    name = "layers.0.self_attn.o_proj.weight"
    assert type(fresh) is type(trained)
    assert torch.equal(fresh.state_dict()[name], again.state_dict()[name])
    assert not torch.equal(fresh.state_dict()[name], other.load().state_dict()[name])
    assert not torch.equal(fresh.state_dict()[name], trained.state_dict()[name])
    assert not fresh.training and not any(p.requires_grad for p in fresh.parameters())
    assert len({handle.fingerprint, other.fingerprint, opened(llama).fingerprint}) == 3
    assert opened(llama, random_init=True, random_seed=3).fingerprint == handle.fingerprint
    assert handle.tokenizer_fingerprint == opened(llama).tokenizer_fingerprint


def test_random_init_needs_no_weights(llama: Path) -> None:
    (llama / "model.safetensors").unlink()
    body = loaded(llama, random_init=True)
    verify_sites(body, find_sites(body))


# --- several files -------------------------------------------------------------------------------


def test_shards_hold_the_same_model(llama: Path, tmp_path: Path) -> None:
    """Every weight in one of several files; a file that is cut short is a message."""
    whole = opened(llama)
    body: Any = whole.load()
    body.save_pretrained(tmp_path, max_shard_size="20KB")
    whole.tokenizer.save_pretrained(tmp_path)
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 2
    again = opened(tmp_path)
    state = again.load().state_dict()
    assert state.keys() == body.state_dict().keys()
    assert all(torch.equal(state[name], weight) for name, weight in body.state_dict().items())
    assert again.fingerprint != whole.fingerprint
    shards[1].write_bytes(shards[1].read_bytes()[:-40])
    assert opened(tmp_path).fingerprint != again.fingerprint
    refused("its weights cannot be read", ModelConfig(name=str(tmp_path), device="cpu"), load=True)
    shards[1].unlink()
    refused(rf"{shards[1].name} is missing", ModelConfig(name=str(tmp_path)))


def test_transformers_stays_quiet(llama: Path, capfd: pytest.CaptureFixture[str]) -> None:
    verbosity = transformers.logging.get_verbosity()
    loaded(llama)
    loaded(llama, random_init=True)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
    assert transformers.logging.get_verbosity() == verbosity


# --- real models ---------------------------------------------------------------------------------


def test_packaged_minilm() -> None:
    handle = open_model(ModelConfig(name="minilm", device="cpu"))
    assert (handle.kind, handle.context, handle.dtype) == ("encoder", 512, "float32")
    body: Any = handle.load()
    heads = find_sites(body)
    assert [(s.units, s.width) for s in heads] == [(12, 32)] * 6
    ids = handle.encode(["The old sailor mended the nets."])[0].ids
    for kind in SITE_KINDS:
        verify_sites(body, find_sites(body, kind), input_ids=ids)


@pytest.mark.shared
def test_stories_decoder(shared: Path) -> None:
    handle = opened(shared / "models" / "stories260K")
    assert (handle.kind, handle.context, handle.pad_id) == ("decoder", 512, 2)
    body: Any = handle.load()
    assert [(s.units, s.width) for s in find_sites(body)] == [(8, 8)] * 5
    encoding = handle.encode(["Once upon a time, there was a dog."])[0]
    assert encoding.ids[0] == 1 and encoding.special[0]
    for kind in SITE_KINDS:
        verify_sites(body, find_sites(body, kind), input_ids=encoding.ids)
