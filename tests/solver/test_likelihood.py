"""Probabilities of many logits are those of the library's softmax, however large the logits."""

from __future__ import annotations

import pytest
import torch

from probes.solver.likelihood import probabilities
from probes.solver.tuning import LIBRARY_SOFTMAX

CLASSES, ROWS = 4, 1000
BLOCKS = LIBRARY_SOFTMAX // (CLASSES * ROWS) + 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("blocks", [1, BLOCKS])
@pytest.mark.parametrize(
    ("spread", "shift"), [(1.0, 0.0), (20.0, 0.0), (1.0, -200.0), (1.0, 200.0), (300.0, 0.0)]
)
def test_probabilities(dtype: torch.dtype, blocks: int, spread: float, shift: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(blocks, CLASSES, ROWS, generator=generator, dtype=dtype)
    logits[0, :, 0] = spread * logits[0, :, 0] + shift  # one row is enough to go wrong
    found = probabilities(logits, torch.empty_like(logits))
    assert (blocks == 1) == (logits.numel() < LIBRARY_SOFTMAX)
    torch.testing.assert_close(found, torch.softmax(logits.double(), dim=1).to(dtype))


def test_one_logit_is_the_second_of_two_classes() -> None:
    logits = torch.randn(3, 1, 50)
    both = torch.cat([torch.zeros_like(logits), logits], dim=1)
    found = probabilities(logits, torch.empty_like(logits))
    torch.testing.assert_close(found[:, 0], torch.softmax(both, dim=1)[:, 1])
