"""Proof, on one tiny forward pass, that the sites found in a model are what they should be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from probes.core.errors import UserError
from probes.models.forward import forward
from probes.models.hf_config import field_of, model_kind
from probes.models.hooks import hooked
from probes.models.sites import Site
from probes.models.structure import candidates, is_plain, linear_shape

QUANTISED_TOLERANCE = 0.05
"""Relative error allowed where a projection rounds its own inputs or weights."""


def verify_sites(
    body: nn.Module, sites: Sequence[Site], *, input_ids: Sequence[int] | None = None
) -> None:
    """Check each site: it fires exactly once, has its width, and its heads make up the output.

    For heads, ``sum_h z_h @ W_O[h] + b`` must equal the output of the projection, up to the
    rounding of the model's dtype (a few percent where the projection is quantised). The sum is
    formed in float64 from the module's own weight.

    input_ids: tokens of the tiny pass; null takes the first few ids of the vocabulary.

    Raises:
        UserError: that names the site, the candidates and ``model.head_projection``.
    """
    calls: Counter[str] = Counter()
    read: dict[Site, Tensor] = {}

    def count(module: nn.Module, args: Any, output: Any, *, path: str) -> None:
        calls[path] += 1

    paths = {site.module for site in sites}
    handles = [
        body.get_submodule(path).register_forward_hook(
            lambda module, args, output, path=path: count(module, args, output, path=path)
        )
        for path in paths
    ]
    try:
        _tiny_pass(body, input_ids, [], read)
    finally:
        for handle in handles:
            handle.remove()
    for site in sites:
        if calls[site.module] != 1:
            raise _wrong(
                body, site, f"ran {calls[site.module]} times in one forward pass, not once"
            )
    heads = [site for site in sites if site.kind == "heads"]
    outputs = {s: replace(s, side="output", units=1, width=_outputs(body, s)) for s in heads}
    _tiny_pass(body, input_ids, [*sites, *outputs.values()], read)
    for site, output in outputs.items():
        error, allowed = identity_error(body, site, read[site], read[output].squeeze(-2))
        if not error <= allowed:  # catches NaN too
            raise _wrong(
                body,
                site,
                f"is not a sum over {site.units} heads: its output differs by {error:.2g} from "
                f"the sum of their contributions (rounding explains {allowed:.2g})",
            )


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
    bias: Tensor = module(torch.zeros_like(z.flatten(-2))).float()
    total = bias.clone()
    for head in range(z.shape[-2]):
        alone = torch.zeros_like(z)
        alone[..., head, :] = z[..., head, :]
        total += module(alone.flatten(-2)).float() - bias
    return total


def _rounding(output: Tensor) -> float:
    tf32 = output.is_cuda and torch.backends.cuda.matmul.allow_tf32
    if output.dtype == torch.float32 and tf32:
        return 2.0**-10
    return torch.finfo(output.dtype).eps


def _tiny_pass(
    body: nn.Module, ids: Sequence[int] | None, sites: Sequence[Site], read: dict[Site, Tensor]
) -> None:
    tokens = tiny_tokens(body, ids)

    def keep(site: Site, z: Tensor) -> None:
        read[site] = z.clone()

    with hooked(body, sites, keep):
        forward(body, model_kind(body.config), tokens, torch.ones_like(tokens))


def tiny_tokens(body: nn.Module, ids: Sequence[int] | None = None) -> Tensor:
    """(1, T) tokens of a tiny pass: these, or the first few ids of the vocabulary."""
    size = field_of(body.config, "vocab_size")
    return torch.tensor([[(3 + token) % size for token in range(5)] if ids is None else list(ids)])


def _outputs(body: nn.Module, site: Site) -> int:
    shape = linear_shape(body.get_submodule(site.module))
    assert shape is not None
    return shape[1]


def _wrong(body: nn.Module, site: Site, what: str) -> UserError:
    message = f"{type(body).__name__}: {site.module} ({site.stream} layer {site.layer}) {what}"
    if site.kind != "heads":
        return UserError(message, fix="site=heads")
    return UserError(
        message, allowed=candidates(body), fix="model.head_projection=NAME with one of these"
    )
