"""The private functions of torch that training uses are there, and do what public ones do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from probes.training import torch_private
from probes.training.torch_private import adam_step, public_adam_step, rectify_gradient_


def test_this_version_of_torch_has_them() -> None:
    """If this fails after an upgrade of torch, MLP probes train correctly but more slowly."""
    assert torch_private.fused_adam is not None, "torch.optim.adam.adam"
    assert torch_private.rectifier_gradient is not None, "aten.threshold_backward.grad_input"


@pytest.mark.parametrize("step", [adam_step, public_adam_step], ids=["private", "public"])
def test_adam_is_that_of_torch(step: Callable[..., None]) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(50, generator=generator)
    wanted = torch.nn.Parameter(values.clone())
    reference = torch.optim.Adam([wanted], lr=0.01)
    means, squares, steps = torch.zeros(50), torch.zeros(50), torch.zeros(())
    for _ in range(5):
        slopes = torch.randn(50, generator=generator)
        wanted.grad = slopes.clone()
        reference.step()
        step(values, slopes, means, squares, steps, 0.01)
    torch.testing.assert_close(values, wanted.detach(), rtol=1e-5, atol=1e-6)
    assert float(steps) == 5


def test_rectified_gradients_without_the_private_function(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = torch.relu(torch.randn(4, 30, generator=torch.Generator().manual_seed(1)))
    gradient = torch.randn(4, 30, generator=torch.Generator().manual_seed(2))
    private, public = gradient.clone(), gradient.clone()
    rectify_gradient_(private, hidden)
    monkeypatch.setattr(torch_private, "rectifier_gradient", None)
    rectify_gradient_(public, hidden)
    assert torch.equal(private, public)
    assert torch.equal(private, gradient * (hidden > 0))
