"""The metrics of the solver against Hessians written out in full."""

from typing import Any

import numpy as np
import pytest
import torch

from probes.solver.buffers import Workspace
from probes.solver.hessian_sample import SAMPLED_LEAST, hessian_cost, invert_, own_hessians
from probes.solver.linalg import inverse_of
from probes.solver.metric import Coupling, GramMetric
from probes.solver.rows import Rows

N, D = 350, 6


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
def test_the_metric_is_exact_where_probabilities_do_not_depend_on_the_row(weighed: bool) -> None:
    x, l2 = some_rows(), 3.0
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)[:, None].expand(-1, N)
    rows, space, ones = Rows(x[:, None], N), Workspace(), torch.ones(N, dtype=x.dtype)
    if weighed:
        metric = GramMetric.weighed(rows, 0.62 * ones.expand(2, N), space)
    else:
        metric = GramMetric(rows, ones, x.mean(1), space)
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
        assert coupling.vectors is not None
        part = Coupling(coupling.values[h : h + 1], coupling.vectors[h : h + 1])
        found = metric.keep([h]).apply(gradient, part, torch.full((1, 1), l2, dtype=x.dtype))
        torch.testing.assert_close(found[0], wanted[h], rtol=1e-6, atol=1e-6)


def test_rows_without_weight_do_not_count() -> None:
    x = some_rows(1)
    weights = torch.zeros(1, N, dtype=x.dtype)
    weights[:, 100:300] = 0.7
    metric = GramMetric.weighed(Rows(x[:, None], N), weights, Workspace())
    inside = x[0, 100:300]
    torch.testing.assert_close(metric.mean[0], inside.mean(0))
    torch.testing.assert_close(metric.gram[0], torch.cov(inside.T, correction=0))


def written_out(x: torch.Tensor, curvature: torch.Tensor) -> torch.Tensor:
    """x^T diag(curvature) x in float64 of each of (R, N): (R, n, n)."""
    return torch.stack([x.double().T @ (row.double()[:, None] * x.double()) for row in curvature])


@pytest.mark.parametrize("width", [D, 150])  # a wide one is formed in parts
def test_hessians_of_few_rows_are_exact(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setattr("probes.solver.tuning.HESSIAN_NUMBERS", 3 * N * (width + 1))  # 3 columns
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(N, width + 1, generator=generator)
    x[:, -1] = 1
    curvature = torch.rand(8, N, generator=generator)
    found = x.new_empty(8, width + 1, width + 1)
    own_hessians(x[:, :-1], curvature, found)
    torch.testing.assert_close(found.double(), written_out(x, curvature), rtol=1e-4, atol=1e-3)


def test_hessians_of_many_rows_are_estimated_from_those_that_curve_most() -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(50_000, 8, generator=generator)
    x[:, -1] = 1
    spread = torch.rand(4, 50_000, generator=generator)
    certain = torch.where(torch.arange(50_000) % 100 == 7, spread, 1e-6 * spread)  # 500 rows matter
    nothing = torch.zeros_like(spread)
    nothing[:, 123] = 0.25
    curvature = torch.cat([spread, certain, nothing])
    found = x.new_empty(12, 8, 8)
    own_hessians(x[:, :-1], curvature, found)
    wanted = written_out(x, curvature)
    # As seen from the exact one: within what SAMPLED_LEAST rows of 8 numbers let expect, four times
    # their square root to either side.
    slack = 4 * (8 / SAMPLED_LEAST) ** 0.5
    root = torch.linalg.cholesky(wanted[:8])
    seen = torch.linalg.solve_triangular(root, found[:8].double(), upper=False)
    seen = torch.linalg.solve_triangular(root, seen.mT, upper=False)
    values = torch.linalg.eigvalsh(seen)
    assert 1 - slack < float(values.min()) and float(values.max()) < 1 + slack
    torch.testing.assert_close(found[8:].double(), wanted[8:], rtol=1e-4, atol=0)  # one row
    again = torch.empty_like(found)
    own_hessians(x[:, :-1], curvature, again)
    assert torch.equal(found, again)


def test_rows_that_are_longer_than_others_are_not_missed_by_a_sample() -> None:
    """Rows with log-normal lengths. Sampled by curvature alone, values here run from .09 to 6."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(20_000, 8, generator=generator)
    x *= (1.5 * torch.randn(20_000, 1, generator=generator)).exp()
    x[:, -1] = 1
    curvature = 0.25 * torch.rand(6, 20_000, generator=generator)
    found = x.new_empty(6, 8, 8)
    own_hessians(x[:, :-1], curvature, found)
    root = torch.linalg.cholesky(written_out(x, curvature))
    seen = torch.linalg.solve_triangular(root, found.double(), upper=False)
    seen = torch.linalg.solve_triangular(root, seen.mT, upper=False)
    values = torch.linalg.eigvalsh(seen)
    assert float(values.min()) > 0.3 and float(values.max()) < 3


@pytest.mark.parametrize(("columns", "dtype"), [(2, torch.float64), (1, torch.float32)])
def test_in_float64_and_for_a_column_alone_all_rows_count_but_negligible_ones(
    columns: int, dtype: torch.dtype
) -> None:
    x = torch.randn(5_000, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    x = x.to(dtype)
    x[:, -1] = 1
    curvature = 0.05 + 0.2 * torch.rand(columns, 5_000, dtype=dtype)
    found = x.new_empty(columns, 4, 4)
    own_hessians(x[:, :-1], curvature, found)
    close: Any = {"rtol": 1e-4, "atol": 1e-2}
    torch.testing.assert_close(found.double(), written_out(x, curvature), **close)
    curvature[:, 2_000:] *= 1e-6
    own_hessians(x[:, :-1], curvature, found)
    torch.testing.assert_close(found.double(), written_out(x, curvature), **close)


def test_a_column_that_nothing_curves_has_an_empty_hessian() -> None:
    x = torch.randn(10_000, 5)
    for columns in (1, 2):
        found = torch.full((columns, 5, 5), float("nan"))
        own_hessians(x[:, :-1], torch.zeros(columns, 10_000), found)
        assert torch.equal(found, torch.zeros_like(found))


@pytest.mark.parametrize("n", [1, 7, 95, 96, 97, 193, 385])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inverses_by_halves_are_inverses(n: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(n)
    rows = torch.randn(3, 2 * n + 5, n, generator=generator, dtype=torch.float64)
    system = (rows.mT @ rows).to(dtype)
    product = inverse_of(system).double() @ system.double()
    slack = 1e-3 if dtype == torch.float32 else 1e-10
    torch.testing.assert_close(
        product, torch.eye(n).double().expand_as(product), rtol=0, atol=slack
    )


@pytest.mark.parametrize("n", [6, 200])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_not_positive_definite_is_inverted_by_its_diagonal(
    n: int, dtype: torch.dtype
) -> None:
    good = torch.eye(n, dtype=dtype) * 4
    bad = torch.ones(n, n, dtype=dtype) * 2
    bad[0, 0] = -1
    lost = torch.full((n, n), float("nan"), dtype=dtype)
    found = inverse_of(torch.stack([good, bad, lost]))
    torch.testing.assert_close(found[0], torch.eye(n, dtype=dtype) / 4)
    assert torch.equal(found[1], torch.diag(torch.diagonal(found[1])))
    assert float(found[1].diagonal().min()) > 0 and bool(found.isfinite().all())


@pytest.mark.parametrize("n", [7, 150])  # narrow ones are inverted in float64
def test_penalties_are_added_before_the_inverse(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    monkeypatch.setattr("probes.solver.tuning.HESSIAN_NUMBERS", 2 * n * n)  # two at a time
    rows = torch.randn(5, 4 * n, n, generator=torch.Generator().manual_seed(3))
    hessians, penalty = rows.mT @ rows, torch.rand(5, n) * 100
    # Not by torch: MKL's LU of a batch may wait for ever for a thread (torch 2.13, two threads).
    summed = hessians.double() + torch.diag_embed(penalty.double())
    wanted = torch.from_numpy(np.linalg.inv(summed.numpy()))
    invert_(hessians, penalty)
    torch.testing.assert_close(hessians.double(), wanted, rtol=0, atol=1e-4 * float(wanted.max()))


def test_hessians_cost_fewer_iterations_where_rows_are_many() -> None:
    few, many = hessian_cost(4_500, 384, 29, 1), hessian_cost(55_000, 384, 29, 1)
    assert many < 8 < 40 < few
    assert hessian_cost(55_000, 32, 29, 1) < 1 < hessian_cost(4_500, 32, 29, 1) < 8
