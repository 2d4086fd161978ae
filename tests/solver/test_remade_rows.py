"""Rows that are made again for each pass: those of a copy, its fits, and no memory for them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.memory import peak_above
from probes.core.process import return_freed_memory
from probes.solver import SelectedRows, fit_logistic, tuning
from probes.solver.buffers import Workspace
from probes.solver.hessian_sample import own_hessians
from probes.solver.metric import GramMetric
from probes.solver.remade_rows import RemadeRows
from probes.solver.rows import Rows, row_blocks
from probes.solver.standardise import standardise

N, D = 333, 6
CHOSEN = torch.arange(0, 400)[torch.arange(400) % 50 != 7][:N]


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "BLOCK_ROWS", 16)
    monkeypatch.setattr(tuning, "STANDARDISED_NUMBERS", 50 * D)


@pytest.fixture
def both(blocks: None, monkeypatch: pytest.MonkeyPatch) -> tuple[Rows, Rows]:
    """The rows of a copy, and the same made anew; the last block has padding."""
    stored = 5 + torch.randn(3, 400, 2, generator=torch.Generator().manual_seed(0)).half()
    z = SelectedRows(stored, CHOSEN, together=True)
    standardised = []
    for limit in (10**9, 0):
        monkeypatch.setattr(tuning, "COPIED_BYTES", limit)
        found = standardise(z, slice(None), torch.ones(1, N), torch.float32, Workspace())
        standardised.append(found)
    assert torch.equal(standardised[0].std, standardised[1].std)
    assert isinstance(standardised[1].x, RemadeRows)
    assert standardised[0].padded.shape[1] * standardised[0].padded.shape[2] > N
    copy, remade = (Rows(found.padded, N) for found in standardised)
    return copy, remade


def test_products_are_those_of_a_copy_bit_for_bit(both: tuple[Rows, Rows]) -> None:
    generator = torch.Generator().manual_seed(1)
    _, K, B, _ = both[0].x.shape
    for columns in (1, 3):
        v = torch.randn(1, columns, D + 1, generator=generator)
        logits = [rows.logits(v, torch.empty(1, K, columns, B)) for rows in both]
        assert torch.equal(*logits)
        sums = [rows.gradient(logits[0]) for rows in both]
        assert torch.equal(*sums)
        exact = [rows.gradient(logits[0].double()) for rows in both]
        torch.testing.assert_close(*exact)


def test_rows_are_those_of_a_copy(both: tuple[Rows, Rows]) -> None:
    copy, remade = both
    assert isinstance(remade.x, RemadeRows)
    assert torch.equal(remade.every(3), copy.every(3))
    index = torch.tensor([5, 0, N - 1])
    assert torch.equal(remade.x[:, index], copy.every(1)[:, index])
    parts = [part.clone() for _, part in row_blocks(remade.x, torch.float64)]
    assert torch.equal(torch.cat(parts, 1), copy.every(1).double())
    weights = torch.rand(1, N, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(remade.sums(weights), copy.sums(weights))
    metrics = [GramMetric.weighed(rows, weights, Workspace()) for rows in both]
    torch.testing.assert_close(metrics[0].gram, metrics[1].gram)


@pytest.mark.parametrize("columns", [1, 2], ids=["alone", "sampled"])
@pytest.mark.parametrize("step", [1, 2])
def test_hessians_are_those_of_a_copy(both: tuple[Rows, Rows], columns: int, step: int) -> None:
    _, K, B, _ = both[0].x.shape
    pools = [rows.every_of_blocks(0, step) for rows in both]
    curvature = torch.rand(columns, pools[0].shape[0], generator=torch.Generator().manual_seed(3))
    padding = torch.zeros(K, B).view(-1)
    padding[N:] = 1
    curvature[:, padding.view(K, B)[:, ::step].flatten() == 1] = 0
    hessians = [torch.empty(columns, D + 1, D + 1) for _ in pools]
    for pool, out in zip(pools, hessians, strict=True):
        own_hessians(pool, curvature, out)
    assert torch.equal(*hessians)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("l2", [[10.0, 1.0], [1e-4]], ids=["float32", "float64"])
def test_the_fit_is_that_of_a_copy(
    monkeypatch: pytest.MonkeyPatch, classes: int, l2: list[float]
) -> None:
    """Within the tolerance: sums over many rows are made block by block."""
    monkeypatch.setattr(tuning, "BLOCK_ROWS", 100)
    z = (5 + torch.randn(1, 400, 6, generator=torch.Generator().manual_seed(0))).half()
    labels = (z[0, CHOSEN, :classes].float()).argmax(-1).repeat(2, 1)
    weights = torch.ones(2, N)
    weights[1, ::3] = 0
    fits = []
    for limit in (10**9, 0):
        monkeypatch.setattr(tuning, "COPIED_BYTES", limit)
        selected = SelectedRows(z, CHOSEN)
        fits.append(fit_logistic(selected, labels, weights, l2, classes=classes, tolerance=1e-6))
    assert fits[1].converged.all()
    for name in ("weight", "bias"):
        ours, theirs = (getattr(fit, name) for fit in fits)
        torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-2 * float(theirs.abs().max()))


def test_memory_of_a_fit_does_not_grow_with_the_rows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A copy of the second fit's rows would take 25 MB more than one of the first's."""
    monkeypatch.setattr(tuning, "COPIED_BYTES", 1 << 20)
    rows, width = 32_000, 384
    stored = torch.from_file(
        str(tmp_path / "rows"), shared=True, size=rows * width, dtype=torch.float16
    ).view(1, rows, width)
    generator = torch.Generator().manual_seed(0)
    for block in stored[0].split(1000):
        block.copy_(torch.randn(len(block), width, generator=generator))
    labels = (stored[0, :, 0] > 0).long()[None]

    def fit(n: int) -> float:
        return_freed_memory()
        z, weights = SelectedRows(stored[:, :n]), torch.ones(1, n)
        given = z, labels[:, :n], weights, [100.0]
        return peak_above(lambda: fit_logistic(*given, classes=2, tolerance=1e-3)).anonymous_mb

    fit(1000)  # first calls allocate
    assert fit(rows) - fit(rows // 2) < 10
