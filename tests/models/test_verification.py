"""What verification refuses: false heads, padding that reaches texts, models that read no text.

Each test stands for a kind of model; where transformers has a family of that kind, it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.tiny_configs import tiny_body
from probes.core.errors import UserError
from probes.models.forward import forward
from probes.models.padding import PaddingError, padded
from probes.models.sites import find_sites
from probes.models.structure import layers_of, linear_shape
from probes.models.verification import verify_sites
from tests import tiny_models
from tests.tiny_families import FAMILIES

KERNELS = pytest.mark.parametrize("attention", ["sdpa", "eager"])


def build(family: str, attention: str = "sdpa") -> Any:
    body = tiny_models.build(family, torch.float32)
    body.set_attn_implementation(attention)
    return body


# --- padding ------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_may_be_padded_on_the_sides_that_it_takes(family: str) -> None:
    body = tiny_models.build(family, torch.float32)
    for kind in ("heads", "residual"):
        verify_sites(body, find_sites(body, kind), padding=("right", "left"))


def neighbours(x: Tensor) -> Tensor:
    """A convolution: each token takes some of the next."""
    return x + 0.3 * torch.cat([x[:, 1:], torch.zeros_like(x[:, :1])], dim=1)


def state(x: Tensor) -> Tensor:
    """A recurrence: each token takes some of all before it."""
    return x + 0.1 * x.cumsum(dim=1)


def blocks(x: Tensor) -> Tensor:
    """A mean over the whole row, whatever is in it."""
    return x + 0.3 * x.mean(dim=1, keepdim=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("mix", "sides"),
    [(neighbours, {"right"}), (state, {"left"}), (blocks, {"right", "left"})],
)
@pytest.mark.parametrize("kind", ["heads", "residual"])
def test_layers_that_let_padding_in(
    mix: Callable[[Tensor], Tensor], sides: set[str], kind: str, dtype: torch.dtype
) -> None:
    body = tiny_models.build("llama_gqa", dtype)
    body.layers[0].input_layernorm.register_forward_hook(lambda m, args, output: mix(output))
    sites = find_sites(body, kind)
    for side in ("right", "left"):
        if side in sides:
            with pytest.raises(PaddingError, match=f"padding on the {side} changes"):
                verify_sites(body, sites, padding=(side,))
        else:
            verify_sites(body, sites, padding=(side,))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", ["mixtral", "qwen3_next", "gemma3", "t5"])
def test_rounding_is_not_taken_for_padding(family: str, dtype: torch.dtype) -> None:
    body = tiny_models.build(family, dtype)
    verify_sites(body, find_sites(body), padding=("right", "left"))


@pytest.mark.parametrize("model_type", ["nystromformer", "yoso"])
def test_families_that_let_padding_in(model_type: str) -> None:
    body = tiny_body(model_type)
    with pytest.raises(PaddingError, match=r"Try extraction\.tokens_per_batch=1"):
        verify_sites(body, find_sites(body))
    verify_sites(body, find_sites(body), padding=())


@pytest.mark.parametrize("model_type", ["mpnet", "ibert", "m2m_100", "roberta", "xlm-roberta"])
def test_positions_that_are_counted_from_the_padding_index(model_type: str) -> None:
    """Padding on the left: the text has the positions that it has alone."""
    body = tiny_body(model_type)
    verify_sites(body, find_sites(body), padding=("left",))


# --- heads --------------------------------------------------------------------------------------


@KERNELS
@pytest.mark.parametrize("claimed", [2, 8])
@pytest.mark.parametrize("family", ["llama_gqa", "qwen3", "bert", "opt"])
def test_head_count_is_that_of_the_attention(family: str, claimed: int, attention: str) -> None:
    """The identity holds for any split of the inputs; what the attention computes does not."""
    body = build(family, attention)
    for module in body.modules():
        if hasattr(module, "o_proj") or hasattr(module, "out_proj") or hasattr(module, "query"):
            module.num_v_heads = claimed  # looked up first, used by none of these
    if family == "bert":  # its projection is beside the module that attends
        for layer in body.encoder.layer:
            layer.attention.num_v_heads = claimed
    sites = find_sites(body)
    assert {site.units for site in sites} == {claimed}
    with pytest.raises(UserError, match=f"{claimed} heads by its config, and its attention .* 4$"):
        verify_sites(body, sites)


@KERNELS
def test_heads_that_are_interleaved_are_refused(attention: str) -> None:
    """The right number of heads of the right width, each spread over the inputs."""
    body = build("llama_gqa", attention)
    order = torch.arange(32).view(4, 8).T.reshape(-1)
    for layer in body.layers:
        layer.self_attn.o_proj.register_forward_pre_hook(lambda m, args: (args[0][..., order],))
        layer.self_attn.o_proj.weight[:] = layer.self_attn.o_proj.weight[:, order].clone()
    sites = find_sites(body)
    with pytest.raises(UserError, match="does not hold its 4 heads side by side"):
        verify_sites(body, sites)


@pytest.mark.parametrize(
    ("model_type", "why"),
    [
        ("convbert", "its attention puts out 2 heads of width 8: they are not side by side"),
        ("diffllama", "does not hold its 4 heads side by side"),
    ],
)
def test_inputs_that_are_not_just_heads(model_type: str, why: str) -> None:
    """Half of ConvBERT's are a convolution's; DiffLlama's are differences of heads."""
    body = tiny_body(model_type)
    with pytest.raises(UserError, match=why):
        verify_sites(body, find_sites(body))


@pytest.mark.parametrize("family", FAMILIES)
def test_no_other_linear_map_passes_for_the_projection(family: str) -> None:
    """Each map onto the hidden size, chosen by ``model.head_projection``, leads to a refusal."""
    body = tiny_models.build(family, torch.float32)
    right = {site.module for site in find_sites(body)}
    names = {
        name
        for layer in layers_of(body)
        for name, module in layer.block.named_modules()
        if (shape := linear_shape(module)) and shape[1] == layer.hidden
        and not any(path.endswith(f".{name}") for path in right)
    }  # fmt: skip
    for name in names:
        with pytest.raises(UserError):
            verify_sites(body, find_sites(body, head_projection=name))
    assert names or family in {"gpt_oss"}  # its experts are no linear maps


@pytest.mark.parametrize(("model_type", "layers"), [("recurrent_gemma", [2]), ("nemotron_h", [2])])
def test_attention_inside_a_hybrid_is_found_by_itself(model_type: str, layers: list[int]) -> None:
    body = tiny_body(model_type)
    sites = find_sites(body)
    assert [site.layer for site in sites] == layers
    verify_sites(body, sites)


@pytest.mark.parametrize(
    "model_type", ["mamba", "mamba2", "falcon_mamba", "xlstm", "fnet", "xlnet"]
)
def test_models_without_a_projection_get_no_hint(model_type: str) -> None:
    """XLNet's only linear map is that of its feed-forward part."""
    with pytest.raises(UserError, match="no attention output projection") as raised:
        find_sites(tiny_body(model_type))
    assert not raised.value.fix and not raised.value.allowed


def test_a_chosen_feed_forward_is_refused() -> None:
    with pytest.raises(UserError, match="is part of the feed-forward, not of the attention"):
        find_sites(tiny_body("xlnet"), head_projection="ff.layer_2")


# --- shapes, and models that do not run -----------------------------------------------------------


@pytest.mark.parametrize("model_type", ["fsmt", "cpmant", "longformer"])
def test_rows_that_are_not_one_vector_for_each_token(model_type: str) -> None:
    """Tokens before texts, tokens of its own before the text, rows filled up to a window."""
    body = tiny_body(model_type)
    with pytest.raises(UserError, match="not one vector for each token of each text"):
        verify_sites(body, find_sites(body))


@pytest.mark.parametrize("model_type", ["whisper", "trocr"])
def test_models_that_cannot_read_a_text(model_type: str) -> None:
    body = tiny_body(model_type)
    with pytest.raises(UserError, match=r"reads input_features|cannot be run on a tiny text"):
        verify_sites(body, find_sites(body))


@pytest.mark.parametrize(
    "error", [KeyError("x"), TypeError(), IndexError("out of range"), AttributeError("a\nb")]
)
@pytest.mark.parametrize("kind", ["heads", "residual"])
def test_whatever_fails_in_the_tiny_pass_is_one_message(error: Exception, kind: str) -> None:
    body = tiny_models.build("gpt2")

    def fail(*args: Any) -> None:
        raise error

    body.h[1].mlp.register_forward_hook(fail)
    with pytest.raises(UserError, match=f"GPT2Model cannot be run .*{type(error).__name__}"):
        verify_sites(body, find_sites(body, kind))


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("GPU"), MemoryError()])
def test_memory_that_runs_out_is_no_fault_of_the_model(error: Exception) -> None:
    body = tiny_models.build("gpt2")

    def fail(*args: Any) -> None:
        raise error

    body.h[1].mlp.register_forward_hook(fail)
    with pytest.raises(type(error)):
        verify_sites(body, find_sites(body))


def test_towers_that_read_no_text_are_left_out() -> None:
    sites = find_sites(tiny_body("git"))
    assert {site.module.split(".")[0] for site in sites} == {"encoder"}


def test_verification_changes_nothing() -> None:
    """Silencing a head is for the tiny pass only."""
    body = build("llama_gqa")
    ids, mask = padded([[5, 6, 7, 8], [9, 10, 11, 12]], "right")
    before = forward(body, "decoder", ids, mask).last_hidden_state
    verify_sites(body, find_sites(body))
    assert torch.equal(before, forward(body, "decoder", ids, mask).last_hidden_state)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in body.modules())


def test_two_passes_and_the_first_layer() -> None:
    """The cost of opening a model: two passes of the body, and one that ends at its first site."""
    body = build("llama_gqa")
    ran = [0, 0]
    for index in range(2):
        body.layers[index].register_forward_pre_hook(
            lambda m, args, i=index: ran.__setitem__(i, ran[i] + 1)
        )
    verify_sites(body, find_sites(body))
    assert ran == [3, 2]
