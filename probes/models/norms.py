"""A norm of a model as arithmetic, so that what enters it can be told apart after it.

At one position a norm is an affine map of its input once its scale is fixed:
``y = weight * centred(x) / size(x) + bias``. Parts of ``x`` are carried through with the
size of the whole ``x``, and a direction after the norm can be pulled back in front of it.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from probes.core.errors import UserError

LARGE = 64.0
"""Size of the inputs that a norm is tried on: the epsilon under its root does not count there."""


@dataclass(frozen=True)
class Norm:
    """A norm, and what its parameters amount to."""

    module: nn.Module
    """A copy of the model's own, in ``weight``'s dtype."""
    centres: bool
    """Whether the mean over the width is subtracted first (LayerNorm), or not (RMSNorm)."""
    weight: Tensor
    """(M,) as it acts: Gemma's norms multiply by 1 + their parameter, some have none."""
    bias: Tensor
    """(M,)"""

    def __call__(self, x: Tensor) -> Tensor:
        """The norm of (..., M), in its dtype, with the module's own arithmetic."""
        y: Tensor = self.module(x.to(self.weight.dtype))
        return y

    def pull_back(self, direction: Tensor, x: Tensor) -> Tensor:
        """The direction in front of the norm that reads what ``direction`` reads after it.

        At the scale of ``x``: for parts that sum to ``x``,
        ``direction @ norm(x) = sum of parts @ pulled + direction @ bias``.

        direction, x: (..., M); returns (..., M).
        """
        x = x.to(self.weight.dtype)
        shape = self.weight * self._centred(x)  # (..., M), norm(x) - bias times the size of x
        after = self(x) - self.bias
        # Read from the output, so that no epsilon need be known.
        inverse = (shape * after).sum(-1, keepdim=True) / shape.square().sum(-1, keepdim=True)
        return self._centred(self.weight * direction) * inverse

    def _centred(self, x: Tensor) -> Tensor:
        return x - x.mean(-1, keepdim=True) if self.centres else x


def is_norm(module: nn.Module) -> bool:
    """Whether a module is called a norm and has no parts."""
    named = re.search("norm", type(module).__name__, re.IGNORECASE)
    return named is not None and not any(True for _ in module.children())


def read_norm(module: nn.Module, like: Tensor) -> Norm:
    """Find out what a norm does by applying it to a few vectors, whatever it calls its parameters.

    like: (M,) of the dtype and on the device that everything is computed in from here on.

    Raises:
        UserError: for a module that is no LayerNorm or RMSNorm over its whole width, and for one
            whose parameters are offloaded.
    """
    if any(parameter.is_meta for parameter in module.parameters()):
        raise UserError(
            f"{type(module).__name__}: its parameters are offloaded", fix="model.device_map=null"
        )
    norm: Any = copy.deepcopy(module).to(like)
    signs = torch.ones_like(like)
    signs[1::2] = -1.0  # nowhere near 0, so that it can be divided by
    with torch.inference_mode():
        bias = norm(torch.zeros_like(signs))
        moved, unmoved = norm(LARGE * signs + LARGE), norm(LARGE * signs)
        # Without centring half of the inputs are 0 once they are moved.
        centres = bool((moved - unmoved).abs().max() <= 1e-3 * (unmoved - bias).abs().max())
        x = LARGE * signs
        x = x - x.mean() if centres else x
        weight = (norm(x) - bias) * x.square().mean().sqrt() / x
    # Ordinary tensors: those of inference mode cannot take part in differentiation.
    result = Norm(norm, centres, weight.clone(), bias.clone())
    _check(result, LARGE * torch.linspace(-1.0, 9.0, len(like)).to(like).cos())
    return result


@torch.inference_mode()
def _check(norm: Norm, x: Tensor) -> None:
    centred = norm._centred(x)
    expected = norm.weight * centred / centred.square().mean().sqrt() + norm.bias
    actual = norm(x)
    if not (actual - expected).abs().max() <= 1e-4 * expected.abs().max():  # catches NaN too
        raise UserError(
            f"{type(norm.module).__name__} is no LayerNorm or RMSNorm over the width of the model"
        )
