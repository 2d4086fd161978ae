"""The functions of torch that are not public, in one place, each with a public one to fall back on.

Both write into tensors that exist already, which no public function does; on small networks a
training step costs calls and allocations, not arithmetic. ``tests/training/test_torch_private.py``
fails where a new version of torch lacks them, and training then goes on with what is public.
"""

from __future__ import annotations

import torch
from torch import Tensor

BETAS, EPSILON = (0.9, 0.999), 1e-8

try:
    from torch.optim.adam import adam as fused_adam
except ImportError:  # another layout of torch.optim
    fused_adam = None  # type: ignore[assignment]

__all__ = ["adam_step", "fused_adam", "public_adam_step", "rectifier_gradient", "rectify_gradient_"]

rectifier_gradient = getattr(torch.ops.aten.threshold_backward, "grad_input", None)


def adam_step(
    values: Tensor, slopes: Tensor, means: Tensor, squares: Tensor, steps: Tensor, rate: float
) -> None:
    """One step of Adam (Kingma and Ba 2015) on one vector, in place.

    means, squares: its moments. steps: number of steps before this one, a tensor without
    dimensions; counts up. rate: the learning rate.
    """
    if fused_adam is None:
        public_adam_step(values, slopes, means, squares, steps, rate)
        return
    fused_adam(
        [values],
        [slopes],
        [means],
        [squares],
        [],
        [steps],
        fused=True,
        amsgrad=False,
        beta1=BETAS[0],
        beta2=BETAS[1],
        lr=rate,
        weight_decay=0.0,
        eps=EPSILON,
        maximize=False,
    )


def public_adam_step(
    values: Tensor, slopes: Tensor, means: Tensor, squares: Tensor, steps: Tensor, rate: float
) -> None:
    """``adam_step`` by public functions only."""
    count = float(steps.add_(1))
    means.lerp_(slopes, 1 - BETAS[0])
    squares.mul_(BETAS[1]).addcmul_(slopes, slopes, value=1 - BETAS[1])
    scale = (squares / (1 - BETAS[1] ** count)).sqrt_().add_(EPSILON)
    values.addcdiv_(means, scale, value=-rate / (1 - BETAS[0] ** count))


def rectify_gradient_(gradient: Tensor, hidden: Tensor) -> None:
    """Set the gradient of a rectified layer to 0, in place, where its units are 0."""
    if rectifier_gradient is None:
        gradient.masked_fill_(hidden <= 0, 0.0)
    else:
        rectifier_gradient(gradient, hidden, 0, grad_input=gradient)
