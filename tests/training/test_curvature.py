"""The metrics of the solver against Hessians written out in full."""

import pytest
import torch

from probes.training.curvature import (
    Coupling,
    GramCurvature,
    column_hessian,
    hessian_cost,
    pair_hessians,
    pairs_pay,
)
from probes.training.products import Rows
from probes.training.workspace import Workspace

N, D = 400, 6


def some_rows(heads: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(heads, N, D, generator=generator, dtype=torch.float64)
    return x * torch.arange(1, D + 1) + 0.3


def hessian(x: torch.Tensor, p: torch.Tensor, penalty: torch.Tensor) -> torch.Tensor:
    """Of one softmax column: x (N, D), p (C, N), penalty (D + 1,) -> (C * n, C * n)."""
    ones = torch.cat([x, torch.ones_like(x[:, :1])], 1)  # (N, n)
    curved = torch.diag_embed(p.T) - p.T[:, :, None] * p.T[:, None, :]  # (N, C, C)
    full = torch.einsum("nab,ni,nj->aibj", curved, ones, ones)
    size = full.shape[0] * full.shape[1]
    return full.reshape(size, size) + torch.diag(penalty.repeat(len(p)))


@pytest.mark.parametrize("weighed", [False, True])
def test_the_metric_is_exact_where_probabilities_do_not_depend_on_the_row(weighed):
    x, l2 = some_rows(), 3.0
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)[:, None].expand(-1, N)
    rows, space, ones = Rows(x[:, None], N), Workspace(), torch.ones(N, dtype=x.dtype)
    if weighed:
        metric = GramCurvature.weighed(rows, 0.62 * ones.expand(2, N), space)
    else:
        metric = GramCurvature(rows, ones, x.mean(1), space)
        metric.decompose()
    matrix = (torch.diag(p[:, 0]) - p[:, :1] * p[:, 0]) * N
    coupling = Coupling.of(matrix.expand(2, 1, 3, 3), torch.full((2, 1), 1e-6, dtype=x.dtype))
    penalty = torch.tensor([l2] * D + [0.0], dtype=x.dtype)
    wanted = torch.randn(2, 1, 3, 2, D + 1, dtype=x.dtype)  # two vectors at once
    wanted -= wanted.mean(2, keepdim=True)  # a softmax does not see the sum over the classes
    for h in range(2):
        flat = wanted[h, 0].movedim(1, 0).flatten(1)  # (2, 3 * (D + 1))
        products = flat @ hessian(x[h], p, penalty)  # symmetric
        gradient = products.view(2, 3, D + 1).movedim(0, 1)[None, None]
        part = Coupling(coupling.values[h : h + 1], coupling.vectors[h : h + 1])
        found = metric.keep([h]).apply(gradient, part, torch.full((1, 1), l2, dtype=x.dtype))
        torch.testing.assert_close(found[0], wanted[h], rtol=1e-6, atol=1e-6)


def test_rows_without_weight_do_not_count():
    x = some_rows(1)
    weights = torch.zeros(1, N, dtype=x.dtype)
    weights[:, 100:300] = 0.7
    metric = GramCurvature.weighed(Rows(x[:, None], N), weights, Workspace())
    inside = x[0, 100:300]
    torch.testing.assert_close(metric.mean[0], inside.mean(0))
    torch.testing.assert_close(metric.gram[0], torch.cov(inside.T, correction=0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_hessians_of_pairs_are_those_of_the_columns(monkeypatch, dtype):
    monkeypatch.setattr("probes.training.curvature.PAIRS_AT_ONCE", 28 * 5)  # 5 rows, 2 Hessians
    x = some_rows(1)[0].to(dtype)
    generator = torch.Generator().manual_seed(1)
    curvature = 0.1 + 0.15 * torch.rand(8, N, generator=generator, dtype=torch.float64).to(dtype)
    penalty = torch.rand(2, 4, D + 1, generator=generator, dtype=torch.float64).to(dtype)
    found = pair_hessians(x, curvature, penalty, Workspace())
    for t in range(2):
        for c in range(4):
            each = column_hessian(x, curvature[4 * t + c], penalty[t, c], Workspace())
            torch.testing.assert_close(found[t, c], each, rtol=2e-3, atol=1e-7)
            ones = torch.cat([x, torch.ones_like(x[:, :1])], 1).double()
            full = ones.T @ (curvature[4 * t + c].double()[:, None] * ones)
            full += torch.diag(penalty[t, c].double())
            torch.testing.assert_close(
                found[t, c].double() @ full, torch.eye(D + 1).double(), rtol=0, atol=5e-3
            )


def test_pairs_are_formed_where_many_columns_share_them():
    assert pairs_pay(33, 29) and not pairs_pay(129, 29)
    assert hessian_cost(4500, 32, 29, 1) < hessian_cost(4500, 128, 29, 1)
