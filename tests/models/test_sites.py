"""Finding sites where models are unusual, and refusing where they cannot be found or proved."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import nn

from probes.core.errors import UserError
from probes.models.sites import find_sites
from probes.models.structure import candidates, linear_shape
from probes.models.verification import verify_sites
from tests import tiny_models
from tests.tiny_families import BERT, FAMILIES, VOCABULARY


def rename(body: nn.Module, old: str, new: str) -> None:
    """Call a submodule of every attention module something else, as a new family would."""
    for module in list(body.modules()):
        if old in module._modules:
            child = module._modules[old]
            assert child is not None
            delattr(module, old)
            setattr(module, new, child)
            setattr(module, old, Alias(child))


class Alias:
    """Calls a module without being one, so that the code that uses the old name still works."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.module(x)
        return output


def test_unknown_name_needs_the_override() -> None:
    body = tiny_models.build("llama_gqa")
    rename(body, "o_proj", "mixdown")
    with pytest.raises(UserError, match=r"(?s)self_attn\.mixdown.*model\.head_projection="):
        find_sites(body)
    sites = find_sites(body, head_projection="mixdown")
    assert [s.module for s in sites] == [f"layers.{i}.self_attn.mixdown" for i in range(2)]
    assert {(s.units, s.width) for s in sites} == {(4, 8)}
    verify_sites(body, sites)


def test_override_that_does_not_exist_names_the_candidates() -> None:
    body = tiny_models.build("gpt2")
    with pytest.raises(
        UserError, match=r"head_projection=nope; allowed: attn\.c_proj\. Try model.head_projection"
    ):
        find_sites(body, head_projection="nope")


def test_chosen_projection_is_that_of_the_attention() -> None:
    """GPT-2's feed-forward part has a c_proj too."""
    body = tiny_models.build("gpt2")
    for name in ("c_proj", "attn.c_proj"):
        assert find_sites(body, head_projection=name) == find_sites(body)


def test_ambiguous_override_is_refused() -> None:
    body = tiny_models.build("gpt2")
    for layer in body.h:
        layer.attn.second = nn.ModuleDict({"c_proj": nn.Linear(32, 32)})
    with pytest.raises(UserError, match=r"both h\.0\.attn\.c_proj and h\.0\.attn\.second\.c_proj"):
        find_sites(body, head_projection="c_proj")


def test_stacks_that_are_alike_have_no_override() -> None:
    body = tiny_models.build("gpt2")
    body.copy = nn.ModuleList(body.h)
    with pytest.raises(UserError, match=r"both h\.0\.attn\.c_proj and copy\.0\.attn\.c_proj") as e:
        find_sites(body)
    assert not e.value.fix


def test_heads_that_do_not_divide_the_inputs() -> None:
    body = tiny_models.build("llama_head_dim")
    body.layers[0].self_attn.num_heads = 5
    with pytest.raises(UserError, match="48 inputs, which its 5 heads"):
        find_sites(body)


def test_square_conv1d_read_the_wrong_way_round_would_be_noticed() -> None:
    body = tiny_models.build("gpt2")
    sites = find_sites(body)
    verify_sites(body, sites)
    projection = body.h[0].attn.c_proj
    projection.forward = lambda x: x @ projection.weight.T + projection.bias
    with pytest.raises(UserError, match=r"h\.0\.attn\.c_proj .* is not a sum over 4 heads"):
        verify_sites(body, sites)


def test_projection_that_adds_something_of_its_own_is_refused() -> None:
    body = tiny_models.build("llama_gqa")
    projection = body.layers[1].self_attn.o_proj
    projection.register_forward_hook(lambda module, args, output: output * 1.001)
    with pytest.raises(UserError, match=r"layers\.1\.self_attn\.o_proj \(decoder layer 1\)"):
        verify_sites(body, find_sites(body))


def test_not_a_number_is_refused() -> None:
    body = tiny_models.build("llama_gqa")
    body.layers[0].mlp.down_proj.weight[:] = torch.nan
    with pytest.raises(UserError, match=r"layers\.1\.self_attn\.o_proj"):
        verify_sites(body, find_sites(body))


def test_bypassed_projection_is_refused() -> None:
    """BLOOM with pretraining_tp > 1 multiplies with the weight without calling the module."""
    body = tiny_models.build("bloom", pretraining_tp=2, slow_but_exact=True)
    with pytest.raises(UserError, match="ran 0 times"):
        verify_sites(body, find_sites(body))


def test_shared_layers_are_refused() -> None:
    """ALBERT runs one layer many times: its heads have no layer of their own."""
    options: dict[str, Any] = BERT | {"vocab_size": VOCABULARY, "embedding_size": 16}
    config = transformers.AlbertConfig(**options)
    body = tiny_models.randomise(transformers.AutoModel.from_config(config))
    sites = find_sites(body)
    assert len(sites) == 1
    with pytest.raises(UserError, match="ran 2 times in one forward pass") as raised:
        verify_sites(body, sites)
    assert not raised.value.fix  # no other projection would help


@pytest.mark.parametrize("kind", ["heads", "attention_output"])
def test_cross_attention_without_an_encoder_is_left_out(kind: str) -> None:
    body = tiny_models.build("gpt2", add_cross_attention=True)
    sites = find_sites(body, kind)
    assert [site.module for site in sites] == ["h.0.attn.c_proj", "h.1.attn.c_proj"]
    verify_sites(body, sites)


def test_layers_may_have_other_head_counts() -> None:
    """A count for each layer in the config, and layers without attention: a ragged map."""
    body = tiny_models.build("llama_gqa", num_hidden_layers=3)
    body.layers[1].self_attn = nn.Identity()  # a hybrid's other kind of layer
    object.__setattr__(body.config, "num_attention_heads", [4, 0, 8])  # as remote code has it
    assert [(s.layer, s.units, s.width) for s in find_sites(body)] == [(0, 4, 8), (2, 8, 4)]
    assert [s.layer for s in find_sites(body, "residual")] == [0, 1, 2]
    with pytest.raises(UserError, match=r"layers=\[1\].*allowed: 0, 2"):
        find_sites(body, layers=[1])


def test_stacks_of_different_width() -> None:
    encoder = {**FAMILIES["t5gemma"].options["encoder"], "hidden_size": 40}
    body = tiny_models.build("t5gemma", torch.float32, encoder=encoder)
    residual = find_sites(body, "residual")
    assert [(s.stream, s.width) for s in residual] == [("encoder", 40)] * 2 + [("decoder", 32)] * 3
    for kind in ("heads", "residual", "attention_output", "mlp_output"):
        verify_sites(body, find_sites(body, kind))


def test_chosen_layers() -> None:
    body = tiny_models.build("bart")
    assert [(s.stream, s.layer) for s in find_sites(body, layers=[2])] == [
        ("decoder", 2),
        ("cross", 2),
    ]
    assert len(find_sites(body, layers=[1, 0])) == 6
    with pytest.raises(UserError, match=r"layers=\[3\]: 3 is not a layer .*allowed: 0 to 2"):
        find_sites(body, layers=[3])
    with pytest.raises(UserError, match="no layer"):
        find_sites(body, layers=[])
    with pytest.raises(UserError, match="-1 is not a layer"):
        find_sites(body, layers=[-1])


def test_unknown_kind() -> None:
    with pytest.raises(UserError, match=r"site=head; allowed: heads, residual.*site=heads"):
        find_sites(tiny_models.build("gpt2"), "head")


def test_attention_in_a_list_of_its_own_has_heads_but_no_residual() -> None:
    config = transformers.XLMConfig(emb_dim=32, n_layers=2, n_heads=4, vocab_size=96)
    body = tiny_models.randomise(transformers.AutoModel.from_config(config))
    sites = find_sites(body)
    assert [(s.stream, s.layer, s.units, s.width) for s in sites] == [
        ("encoder", 0, 4, 8),
        ("encoder", 1, 4, 8),
    ]
    verify_sites(body, sites)
    with pytest.raises(UserError, match=r"list of their own \(attentions\).*site=heads"):
        find_sites(body, "residual")


def test_model_without_attention_is_refused() -> None:
    config = transformers.FNetConfig(hidden_size=32, num_hidden_layers=1, intermediate_size=48)
    with pytest.raises(UserError, match="FNetModel has no attention output projection"):
        find_sites(transformers.AutoModel.from_config(config))


def test_tensor_parallel_is_refused() -> None:
    body = tiny_models.build("llama_gqa")
    body._tp_size = 2
    with pytest.raises(UserError, match="tensor parallelism"):
        find_sites(body)


@pytest.mark.parametrize("online", [True, False])
def test_quantised_projection_is_asked_rather_than_read(online: bool) -> None:
    """BitNet's own linear map rounds inputs to 8 and weights to less than 2 bits on the way."""
    from transformers.integrations.bitnet import AutoBitLinear

    body = tiny_models.build("bitnet", torch.float32)
    for layer in body.layers:
        old = layer.self_attn.o_proj
        new = AutoBitLinear(old.in_features, old.out_features, bias=False, online_quant=online)
        new.weight.data = old.weight.data
        layer.self_attn.o_proj = new.requires_grad_(False)
    verify_sites(body, find_sites(body))
    body.layers[0].self_attn.o_proj.register_forward_hook(lambda m, a, output: output + output**2)
    with pytest.raises(UserError, match="is not a sum"):
        verify_sites(body, find_sites(body))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", ["gpt2", "llama_head_dim", "bert", "t5"])
def test_verification_allows_for_the_rounding_of_the_dtype(family: str, dtype: torch.dtype) -> None:
    body = tiny_models.build(family, dtype)
    verify_sites(body, find_sites(body))


def test_verification_removes_its_hooks() -> None:
    body = tiny_models.build("bert")
    verify_sites(body, find_sites(body), input_ids=[5, 6, 7])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in body.modules())


def test_linear_shapes() -> None:
    from transformers.pytorch_utils import Conv1D

    assert linear_shape(nn.Linear(3, 5)) == (3, 5)
    assert linear_shape(Conv1D(5, 3)) == (3, 5)
    assert linear_shape(nn.LayerNorm(3)) is None


def test_candidates_are_the_maps_of_the_attention_onto_the_hidden_size() -> None:
    assert candidates(tiny_models.build("bert")) == ["attention.output.dense"]
