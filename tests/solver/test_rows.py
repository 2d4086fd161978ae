"""Products in blocks of rows are the products."""

from typing import Any

import pytest
import torch

from probes.solver import tuning
from probes.solver.rows import Rows, blocks_of


@pytest.mark.parametrize("rows", [5, 16, 64, 101, 257])
@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("wide", [6, 7])
def test_rows_in_blocks(
    monkeypatch: pytest.MonkeyPatch, rows: int, columns: int, dtype: torch.dtype, wide: int
) -> None:
    monkeypatch.setattr(tuning, "BLOCK_ROWS", 16)
    monkeypatch.setattr(tuning, "COLUMN_AS_MATRIX_WIDTH", wide)  # there are 6
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, rows, 6, generator=generator)
    count, size = blocks_of(rows, x)
    padding = count * size - rows
    blocks = torch.nn.functional.pad(x, (0, 0, 0, padding)).view(2, count, size, 6)
    held = Rows(blocks, rows)
    assert torch.equal(held.every(1), x)
    ones = torch.cat([x, torch.ones_like(x[..., :1])], -1).to(dtype)  # (2, N, 7)

    def flat(t: torch.Tensor) -> torch.Tensor:  # (H, K, R, B) -> (H, R, N)
        return t.movedim(1, 2).flatten(2)[..., :rows]

    parameters = torch.randn(2, columns, 7, generator=generator).to(dtype)
    out = torch.full((2, count, columns, size), float("nan"), dtype=dtype)
    residual = torch.randn(2, count, columns, size, generator=generator).to(dtype)
    if padding:
        residual[:, -1, :, -padding:] = 0
    exact: Any = {"rtol": 1e-5, "atol": 1e-5}
    found = flat(held.logits(parameters, out))
    torch.testing.assert_close(found, parameters @ ones.mT, **exact)
    torch.testing.assert_close(held.gradient(residual), flat(residual) @ ones, **exact)
    held.keep([1])
    part = flat(held.logits(parameters[1:], out[1:]))
    torch.testing.assert_close(part, parameters[1:] @ ones[1:].mT, **exact)


@pytest.mark.parametrize("rows", [1, 1023, 1024, 4507, 54_855])
def test_blocks_are_equal_and_a_whole_number_for_each_thread(rows: int) -> None:
    count, size = blocks_of(rows, torch.empty(0))
    assert 0 <= count * size - rows < count
    if rows < tuning.BLOCK_ROWS:
        assert count == 1
    else:
        assert count % torch.get_num_threads() == 0 and size <= tuning.BLOCK_ROWS


def test_no_block_is_padding_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "BLOCK_ROWS", 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    for rows in range(4, 200):
        count, size = blocks_of(rows, torch.empty(0))
        assert 0 <= count * size - rows < size, rows
