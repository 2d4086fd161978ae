"""The residual stream as it is found: what is added, in which way, and the way to the logits."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from probes.core.errors import UserError
from probes.models.hf_config import model_kind
from probes.models.language_model import body_of, logits
from probes.models.norms import read_norm
from probes.models.residual_reading import read_stream
from probes.models.residual_search import find_residual_stream
from tests import tiny_models
from tests.residual_models import (
    ADDITIVE,
    ENCODER_POST_NORM,
    EXTRA,
    POST_NORM,
    TO_LOGITS,
    with_head,
)

HAS_POST_ATTENTION_NORM = {"gemma2", "gemma3", "olmo2", "t5gemma"}
PARALLEL_OR_NOT = [*TO_LOGITS, *EXTRA, *POST_NORM]
AT = (np.array([0, 0, 1, 1, 2]), np.array([2, 6, 0, 11, 3]))
"""Sequences and tokens of the batch below."""


def batch(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Padded, but in float64, where the mask of some models is minus infinity."""
    lengths = (12, 12, 12) if dtype == torch.float64 else (7, 12, 4)
    return tiny_models.pad(tiny_models.sequences(lengths))


def inside(model: Any) -> Any:
    """The body, for tests that change its parts."""
    return body_of(model)


@pytest.mark.parametrize("name", PARALLEL_OR_NOT)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_end_of_the_stream_gives_the_models_logits(name: str, dtype: torch.dtype) -> None:
    model = with_head(name, dtype)
    kind, stream = model_kind(model.config), find_residual_stream(model)
    ids, mask = batch(dtype)
    states = read_stream(stream, model, kind, ids, mask, AT)
    expected = logits(model, kind, ids, mask, at=AT)
    actual = stream.logits(states.end)
    torch.testing.assert_close(actual, expected.to(actual.dtype), rtol=1e-5, atol=1e-5)
    chosen = torch.tensor([[5, 90], [4, 4], [0, 1], [9, 95], [50, 2]])
    torch.testing.assert_close(
        stream.logits(states.end, tokens=chosen), actual.gather(1, chosen), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("name", PARALLEL_OR_NOT)
def test_kind_of_stream(name: str) -> None:
    stream = find_residual_stream(with_head(name))
    assert stream.additive == (name in ADDITIVE)
    branches = [branch for layer in stream.layers for branch in layer.branches]
    assert all((b.norm is not None) == (name in HAS_POST_ATTENTION_NORM) for b in branches)
    assert all((b.after is not None) == (not stream.additive) for b in branches)
    factor = 0.22 if name == "granite" else 1.0
    assert all(branch.factor == factor for branch in branches)
    heads = [branch.heads for branch in branches if branch.heads is not None]
    per_layer = 2 if model_kind(with_head(name).config) == "encoder-decoder" else 1
    attending = [layer for layer in stream.layers if layer.branches]
    assert len(heads) == per_layer * len(attending)
    assert len(branches) == len(heads) + len(attending)  # and an MLP in each
    assert len(attending) == (1 if name == "jamba" else len(stream.layers))


@pytest.mark.parametrize(
    ("name", "factors", "cap"),
    [
        ("granite", (1.0, 0.25), None),
        ("cohere", (1.0, 0.3), None),
        ("t5", (32**-0.5, 1.0), None),
        ("gemma2", (1.0, 1.0), 30.0),
        ("llama_gqa", (1.0, 1.0), None),
    ],
)
def test_factors_of_the_head(name: str, factors: tuple[float, float], cap: float | None) -> None:
    stream = find_residual_stream(with_head(name, torch.float32))
    assert stream.head_factors == pytest.approx(factors, rel=1e-12)
    assert stream.cap == cap


@pytest.mark.parametrize("name", ["llama_gqa", "gemma2", "gpt2", "t5", "granite"])
def test_half_precision(name: str) -> None:
    stream = find_residual_stream(with_head(name, torch.bfloat16))
    assert stream.additive and stream.like.dtype == torch.float32
    assert stream.layers[0].branches[0].factor == (0.22 if name == "granite" else 1.0)


@pytest.mark.parametrize("name", ENCODER_POST_NORM)
def test_encoders_have_a_stream_without_a_head(name: str) -> None:
    stream = find_residual_stream(tiny_models.build(name))
    assert stream.stream == "encoder" and not stream.additive
    with pytest.raises(UserError, match="no language-model head"):
        stream.logits(torch.zeros(1, 32, dtype=torch.float64))
    with pytest.raises(UserError, match=r"post-norm.*Try methods=\[ablation\]"):
        stream.require_additive()


def test_the_encoder_of_an_encoder_decoder_has_a_stream_of_its_own() -> None:
    stream = find_residual_stream(with_head("t5"), stream="encoder")
    assert {b.output.stream for layer in stream.layers for b in layer.branches} == {"encoder"}
    assert stream.additive and stream.head is None


# --- projections that are no plain matrix ---------------------------------------------------------


class LowRank(nn.Module):
    """A linear map with an adapter beside it, as peft keeps them."""

    def __init__(self, base: Any) -> None:
        super().__init__()
        self.base = base
        self.in_features, self.out_features = base.in_features, base.out_features
        generator = torch.Generator().manual_seed(1)
        kind = base.weight.dtype
        down = torch.randn(self.in_features, 2, generator=generator, dtype=kind)
        up = torch.randn(2, self.out_features, generator=generator, dtype=kind)
        self.down = nn.Parameter(down, requires_grad=False)
        self.up = nn.Parameter(up, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.base(x) + x @ self.down @ self.up
        return y


def test_projection_with_an_adapter_is_applied_to_unit_vectors() -> None:
    model = copy.deepcopy(with_head("llama_gqa"))
    plain = find_residual_stream(model).layers[0].branches[0]
    attention = inside(model).layers[0].self_attn
    attention.o_proj = adapter = LowRank(attention.o_proj)
    changed = find_residual_stream(model).layers[0].branches[0]
    assert plain.weight is not None and changed.weight is not None
    expected = plain.weight + (adapter.down @ adapter.up).unflatten(0, plain.weight.shape[:2])
    torch.testing.assert_close(changed.weight, expected, rtol=0, atol=1e-12)


class Rounding(nn.Linear):
    """A quantised linear map: inputs are rounded on the way."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward((8 * x).round() / 8)


def test_projection_that_rounds_its_inputs_is_refused() -> None:
    model = copy.deepcopy(with_head("llama_gqa", torch.float32))
    attention = inside(model).layers[1].self_attn
    old = attention.o_proj
    attention.o_proj = Rounding(old.in_features, old.out_features, bias=False)
    attention.o_proj.weight.data = old.weight.data
    with pytest.raises(UserError, match=r"layers\.1\.self_attn\.o_proj is quantised in a way"):
        find_residual_stream(model)


# --- refusals -------------------------------------------------------------------------------------


def test_layer_that_does_something_else_is_refused() -> None:
    model = copy.deepcopy(with_head("llama_gqa", torch.float32))
    inside(model).layers[1].register_forward_hook(lambda module, args, output: output * 1.01)
    with pytest.raises(UserError, match=r"layers\.1 changes the residual stream by something else"):
        find_residual_stream(model)


def test_step_between_layers_is_refused() -> None:
    model = copy.deepcopy(with_head("gpt2", torch.float32))
    layer = inside(model).h[1]
    layer.register_forward_pre_hook(lambda module, args: (args[0] + 1.0, *args[1:]))
    with pytest.raises(UserError, match=r"something happens between h\.0 and h\.1"):
        find_residual_stream(model)


def test_other_way_to_the_logits_is_refused() -> None:
    model = copy.deepcopy(with_head("llama_gqa", torch.float32))
    model.lm_head.register_forward_pre_hook(lambda module, args: (args[0].tanh(),))
    with pytest.raises(UserError, match="its logits are not its head applied to the normed end"):
        find_residual_stream(model)


def test_the_tiny_pass_leaves_no_hooks() -> None:
    model = copy.deepcopy(with_head("gemma3"))
    find_residual_stream(model)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


# --- norms ----------------------------------------------------------------------------------------


class TestNorms:
    @pytest.mark.parametrize("width", [32, 7])
    @pytest.mark.parametrize("kind", ["layer", "no parameters", "rms", "one plus"])
    def test_parts_are_carried_through(self, kind: str, width: int) -> None:
        """Against the definition, for inputs as small as the epsilon under the root."""
        generator = torch.Generator().manual_seed(0)
        module, centred, weight, bias = norm_of(kind, width, generator)
        norm = read_norm(module, torch.zeros(width, dtype=torch.float64))
        assert norm.centres == centred
        torch.testing.assert_close(norm.weight, weight, rtol=1e-6, atol=1e-7)
        for scale in (1e-3, 1.0, 1e3):
            parts = scale * torch.randn(3, 5, width, generator=generator, dtype=torch.float64)
            x = parts.sum(dim=0)  # (5, width)
            direction = torch.randn(5, width, generator=generator, dtype=torch.float64)
            pulled = norm.pull_back(direction, x)
            read = (parts * pulled).sum(dim=(0, -1)) + direction @ bias
            expected = (direction * module.double()(x)).sum(dim=-1)
            torch.testing.assert_close(read, expected, rtol=1e-5, atol=1e-5)

    def test_something_else_is_refused(self) -> None:
        with pytest.raises(UserError, match="GroupNorm is no LayerNorm or RMSNorm"):
            read_norm(GroupNorm(), torch.zeros(6))

    def test_offloaded_parameters_are_refused(self) -> None:
        with pytest.raises(UserError, match=r"offloaded.*model\.device_map=null"):
            read_norm(nn.LayerNorm(4, device="meta"), torch.zeros(4))


class GroupNorm(nn.Module):
    """Normalises both halves of its width apart."""

    def forward(self, x: Tensor) -> Tensor:
        halves = x.unflatten(-1, (2, -1))
        size = halves.square().mean(-1, keepdim=True).sqrt()
        normed: Tensor = (halves / size).nan_to_num()
        return normed.flatten(-2)


def norm_of(
    kind: str, width: int, generator: torch.Generator
) -> tuple[nn.Module, bool, Tensor, Tensor]:
    """A norm, whether it centres, and its weight and bias as they act."""
    from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    parameter = torch.randn(width, generator=generator)
    weight, bias = parameter.double(), torch.zeros(width, dtype=torch.float64)
    if kind == "no parameters":
        plain = nn.LayerNorm(width, elementwise_affine=False)
        return plain, True, torch.ones_like(weight), bias
    module: nn.Module
    if kind == "layer":
        module = nn.LayerNorm(width)
        bias = torch.randn(width, generator=generator).double()
        module.bias.data = bias.float()
    else:
        module = LlamaRMSNorm(width) if kind == "rms" else Gemma2RMSNorm(width)
    module.weight.data = parameter
    return module, kind == "layer", weight + (kind == "one plus"), bias
