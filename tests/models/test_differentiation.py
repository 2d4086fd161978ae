"""Models that cannot be differentiated are refused, and what a recorded pass keeps."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from probes.core.errors import UserError
from probes.models.differentiation import recorded_bytes, require_gradients
from probes.models.forward import forward
from probes.models.hooks import differentiable, hooked
from probes.models.sites import find_sites
from tests import tiny_models
from tests.models.test_residual import LowRank, Rounding
from tests.tiny_families import FAMILIES


@pytest.mark.parametrize("family", FAMILIES)
def test_families_can_be_differentiated(family: str) -> None:
    require_gradients(tiny_models.build(family, torch.float32))


class StraightThrough(nn.Linear):
    """Rounds its inputs, with the gradient of a map that does not."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + ((8 * x).round() / 8 - x).detach())


class Detached(nn.Linear):
    """Computes outside of the graph, as many kernels do."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return super().forward(x)


def with_map(kind: type[nn.Linear]) -> Any:
    body = tiny_models.build("llama_gqa", torch.float32)
    old = body.layers[1].mlp.down_proj
    new = kind(old.in_features, old.out_features, bias=False)
    new.weight = old.weight
    body.layers[1].mlp.down_proj = new
    return body


@pytest.mark.parametrize("kind", [Rounding, Detached])
def test_layers_that_stop_gradients(kind: type[nn.Linear]) -> None:
    with pytest.raises(
        UserError,
        match=rf"gradients do not pass through layers\.1\.mlp\.down_proj, a {kind.__name__}.*"
        r"Try a checkpoint that is not quantised, or methods=\[ablation\]",
    ):
        require_gradients(with_map(kind))


def test_layers_that_pass_gradients_on() -> None:
    require_gradients(with_map(StraightThrough))
    body = tiny_models.build("llama_gqa", torch.float32)
    body.layers[0].self_attn.o_proj = LowRank(body.layers[0].self_attn.o_proj)
    require_gradients(body)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_torchs_own_quantised_layers() -> None:
    body = copy.deepcopy(tiny_models.build("llama_gqa", torch.float32))
    quantised: Any = torch.ao.quantization.quantize_dynamic(body, {nn.Linear})
    with pytest.raises(UserError, match=r"gradients do not pass through layers\.0\.self_attn"):
        require_gradients(quantised)


def test_offloaded_layers() -> None:
    body = tiny_models.build("llama_gqa", torch.float32)
    body.layers[1].mlp.up_proj.to("meta")
    with pytest.raises(UserError, match=r"layers\.1\.mlp\.up_proj, whose weights are offloaded"):
        require_gradients(body)


@pytest.mark.parametrize("family", ["llama_gqa", "gpt2", "t5", "bert", "mixtral"])
def test_recorded_bytes(family: str) -> None:
    """About what stays allocated, and in proportion to the layers."""
    body = tiny_models.build(family, torch.float32)
    kind, sites = FAMILIES[family].kind, find_sites(body)
    a_token = recorded_bytes(body, kind, sites)
    # At least every head's output, in and out of each projection, and an MLP's inside.
    least = sum(4 * (site.units * site.width + 32) for site in sites)
    assert least < a_token < 40 * least
    # In proportion to the tokens, but for attention weights.
    twice = recorded_bytes(body, kind, sites, tokens=60)
    assert 0.9 < twice / a_token < 1.6


def test_a_recorded_pass_is_the_plain_one() -> None:
    body = tiny_models.build("llama_gqa", torch.float32)
    ids, mask = tiny_models.pad(tiny_models.sequences((6, 6)))
    plain = forward(body, "decoder", ids, mask).last_hidden_state
    seen: list[bool] = []
    with hooked(
        body, find_sites(body), differentiable(lambda site, z: seen.append(z.requires_grad))
    ):
        recorded = forward(body, "decoder", ids, mask, gradients=True).last_hidden_state
    assert torch.equal(plain, recorded.detach()) and recorded.requires_grad and all(seen)
