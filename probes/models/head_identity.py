"""What a projection puts out is the sum of what its heads contribute: the identity of heads."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from probes.models.sites import Site
from probes.models.structure import is_plain, linear_shape

QUANTISED_TOLERANCE = 0.05
"""Relative error allowed where a projection rounds its own inputs or weights."""


def identity_error(body: nn.Module, site: Site, z: Tensor, output: Tensor) -> tuple[float, float]:
    """Largest error of ``sum_h z_h @ W_O[h] + b == output``, and what rounding explains.

    z: (batch, tokens, heads, width) read at ``site``; output: (batch, tokens, d_model).
    """
    module: Any = body.get_submodule(site.module)
    weight = projection_weight(module)
    where = torch.device("cpu") if z.device.type == "mps" else z.device  # MPS has no float64
    actual = output.to(where).double()
    if weight is not None:
        total = torch.zeros_like(actual)
        if module.bias is not None:
            total += module.bias.to(where).double()
        size = total.abs()
        for head, rows in enumerate(
            torch.split(weight, site.width)
        ):  # one at a time: W_O can be large
            of_head, rows = z[:, :, head].to(where).double(), rows.to(where).double()
            total += of_head @ rows  # (B, T, M)
            size += of_head.abs() @ rows.abs()
        # The bound grows with what was added up, not with what is left after cancelling.
        error, allowed = (
            float((total - actual).abs().max()),
            8 * _rounding(output) * float(size.max()),
        )
        if error <= allowed or is_plain(module):
            return error, allowed
    # Quantised or offloaded: the weight cannot be read, but the module can be applied.
    error = float((_sum_by_module(module, z).to(where).double() - actual).abs().max())
    return error, QUANTISED_TOLERANCE * float(actual.abs().max())


def projection_weight(module: nn.Module) -> Tensor | None:
    """The weight of a plain linear map as (inputs, outputs), a view; None where it is not plain."""
    shape, weight = linear_shape(module), getattr(module, "weight", None)
    if shape is None or not isinstance(weight, Tensor) or weight.dim() != 2:
        return None
    if not weight.is_floating_point() or weight.is_meta:
        return None
    if isinstance(module, nn.Linear) and weight.shape == (shape[1], shape[0]):
        return weight.T
    return weight if hasattr(module, "nx") and tuple(weight.shape) == shape else None


@torch.inference_mode()
def _sum_by_module(module: nn.Module, z: Tensor) -> Tensor:
    def apply(x: Tensor) -> Tensor:
        output = module(x)
        values: Tensor = output if isinstance(output, Tensor) else output[0]
        return values.float()

    bias = apply(torch.zeros_like(z.flatten(-2)))
    total = bias.clone()
    for head in range(z.shape[-2]):
        alone = torch.zeros_like(z)
        alone[..., head, :] = z[..., head, :]
        total += apply(alone.flatten(-2)) - bias
    return total


def _rounding(output: Tensor) -> float:
    tf32 = output.is_cuda and torch.backends.cuda.matmul.allow_tf32
    if output.dtype == torch.float32 and tf32:
        return 2.0**-10
    return torch.finfo(output.dtype).eps
