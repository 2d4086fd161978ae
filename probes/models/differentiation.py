"""Whether a model can be differentiated: quantised and offloaded layers often cannot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from probes.core.errors import UserError
from probes.models.forward import forward
from probes.models.hf_config import Kind, field_of
from probes.models.hooks import differentiable, hooked
from probes.models.sites import Site
from probes.models.structure import input_dtype, is_plain, linear_shape

ALLOWED_ERROR = 0.2
"""Relative, of a quantised map's gradient: it is that of a map that rounds its inputs."""


def require_gradients(body: nn.Module) -> None:
    """Refuse a model with layers that gradients do not pass, or pass wrongly.

    Offloaded weights are gone when the backward pass needs them. Linear maps that compute in a way
    of their own (quantised, adapters) are tried: some return what no gradient leads to, and one
    that rounds has a gradient of 0. Others are differentiated by torch itself.

    Raises:
        UserError: that names the first such layer.
    """
    for path, module in body.named_modules():
        if any(parameter.is_meta for parameter in module.parameters(recurse=False)):
            raise no_gradient(f"{path}, whose weights are offloaded", "model.device_map=null")
        if (
            linear_shape(module) is not None
            and not is_plain(module)
            and not _differentiable(module)
        ):
            raise no_gradient(
                f"{path}, a {type(module).__name__}", "a checkpoint that is not quantised"
            )


def recorded_bytes(body: nn.Module, kind: Kind, sites: Sequence[Site], *, tokens: int = 32) -> int:
    """Memory that a pass recorded for differentiation keeps for each of its tokens.

    Measured on one tiny pass: tensors that the backward pass needs, without the parameters. What
    grows with the square of a text's length (eager attention) is counted for ``tokens`` tokens.
    """
    size = field_of(body.config, "vocab_size")
    ids = torch.arange(tokens)[None] % size  # (1, T)
    own = {p.untyped_storage().data_ptr() for p in body.parameters()}
    kept: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return x

    alive: list[Any] = []  # storages that are let go would be counted once for many
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x),
        hooked(body, sites, differentiable(lambda site, z: None)),
    ):
        alive.append(forward(body, kind, ids, torch.ones_like(ids), gradients=True))
    return sum(kept.values()) // tokens


def no_gradient(layer: str, fix: str) -> UserError:
    """The error for a layer that gradients do not pass."""
    return UserError(
        f"methods=[attribution]: gradients do not pass through {layer}",
        allowed="layers in memory, in a floating-point type",
        fix=f"{fix}, or methods=[ablation]",
    )


def _differentiable(module: Any) -> bool:
    """Whether the gradient of a linear map is its transpose, along one direction."""
    inputs, _ = linear_shape(module) or (0, 0)
    dtype = input_dtype(module)
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    x, step = (torch.randn(1, inputs, generator=generator).to(device, dtype) for _ in range(2))
    x.requires_grad_()
    try:
        with torch.enable_grad():
            y: Tensor = module(x)
            after: Tensor = module((x + step).detach())
            change = (after - y).detach().float()
            # Along the change itself, so that the expected number is its squared length.
            (gradient,) = torch.autograd.grad((y.float() * change).sum(), x)
    except (RuntimeError, NotImplementedError):
        return False
    expected, actual = float(change.square().sum()), float((gradient.float() * step).sum())
    return abs(actual - expected) <= ALLOWED_ERROR * expected
