"""What the columns of a bank know of their rows' curvature."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from probes.solver.buffers import Workspace
from probes.solver.logits import Logits
from probes.solver.rows import Rows

H, K, B, D, T, C = 2, 3, 50, 4, 2, 3


def passes(weights: torch.Tensor) -> Logits:
    """At logits that columns with drawn parameters have."""
    generator = torch.Generator().manual_seed(0)
    parameters = torch.randn(H, T, C, D + 1, generator=generator)
    columns: Any = SimpleNamespace(
        parameters=parameters, problem=torch.zeros(H, T, dtype=torch.int64)
    )
    rows = Rows(torch.randn(H, K, B, D, generator=generator), K * B)
    return Logits(rows, weights, columns, Workspace(), constant=False)


@pytest.mark.parametrize("step", [1, 4, 1000])
@pytest.mark.parametrize("weighted", [False, True])
def test_rows_taken_stand_for_those_left_out(step: int, weighted: bool) -> None:
    weights = torch.linspace(0.5, 2.0, K * B)[None] if weighted else torch.ones(1, K * B)
    there = passes(weights)
    plain = torch.softmax(there.current, dim=-2)
    w = weights.view(1, K, 1, 1, B)
    taken = range(0, B, step)
    wanted = (w * plain * (1 - plain))[..., ::step] * B / len(taken)
    torch.testing.assert_close(there.class_curvature(step), wanted.expand(H, K, T, C, -1))
