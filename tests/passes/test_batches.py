from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from probes.core.errors import UserError
from probes.passes import batches as module
from probes.passes.alignment import Alignment
from probes.passes.batches import Batch, BatchPlan, Gather
from probes.passes.shards import Shard


def make_alignment(lengths: np.ndarray, seed: int = 0) -> Alignment:
    """Sequences of the given lengths with a few rows each, means among them."""
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    sequence = np.sort(rng.integers(0, len(lengths), size=3 * len(lengths))).astype(np.int32)
    first = rng.integers(0, lengths[sequence])
    return Alignment(
        ids=rng.integers(1, 1000, size=offsets[-1]).astype(np.int32),
        offsets=offsets,
        example=np.arange(len(lengths), dtype=np.int32),
        sequence=sequence,
        first=first.astype(np.int32),
        last=np.minimum(first + rng.integers(0, 3, size=len(first)), lengths[sequence] - 1),
        unit=np.arange(len(sequence), dtype=np.int32),
        grouped=np.arange(len(sequence), dtype=np.int32),
        bounds=np.searchsorted(sequence, np.arange(len(lengths) + 1)),
        counts={},
    )


@pytest.fixture(params=[1, 4, 1000])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(module, "BLOCK_BATCHES", request.param)
    return int(request.param)


def all_batches(
    plan: BatchPlan, budget: int, position: int = 0, end: int | None = None
) -> list[Batch]:
    found = []
    while position < (len(plan) if end is None else end):
        found.append(plan.batch(position, budget, end))
        position += found[-1].count
    return found


@pytest.mark.parametrize("seed", range(5))
def test_every_sequence_and_every_row_once(blocks: int, seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(1, 40, size=200)
    alignment = make_alignment(lengths, seed)
    plan = BatchPlan(alignment, 100)
    found = all_batches(plan, 100)
    rows = np.concatenate([batch.rows for batch in found])
    assert sorted(rows) == list(range(len(alignment)))
    assert sum(batch.tokens for batch in found) == lengths.sum()
    assert plan.tokens_between(0, len(plan)) == lengths.sum()
    position = 0
    for batch in found:
        assert batch.input_ids.numel() <= 100 or batch.count == 1
        for k, sequence in enumerate(plan.order[position : position + batch.count]):
            ids = alignment.ids[alignment.offsets[sequence] : alignment.offsets[sequence + 1]]
            mask = batch.attention_mask[k].bool()
            assert batch.input_ids[k][mask].tolist() == ids.tolist()
            assert mask.sum() == len(ids) and mask[: len(ids)].all()
            mine = batch.rows[batch.sequence == k]
            np.testing.assert_array_equal(mine, np.flatnonzero(alignment.sequence == sequence))
        np.testing.assert_array_equal(batch.first, alignment.first[batch.rows])
        np.testing.assert_array_equal(batch.last, alignment.last[batch.rows])
        position += batch.count


def test_batches_do_not_depend_on_where_a_run_began(blocks: int) -> None:
    lengths = np.random.default_rng(3).integers(1, 40, size=100)
    plan = BatchPlan(make_alignment(lengths), 100)
    whole = all_batches(plan, 100)
    for begin in range(len(whole)):
        again = all_batches(plan, 100, whole[begin].position)
        assert [b.position for b in again] == [b.position for b in whole[begin:]]


def test_rows_of_a_block_lie_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_BATCHES", 4)
    lengths = np.random.default_rng(4).integers(1, 40, size=300)
    plan = BatchPlan(make_alignment(lengths), 200)
    assert len(plan.block_ends) == round(lengths.sum() / 800) > 3
    for begin, end in itertools.pairwise([0, *plan.block_ends]):
        assert np.ptp(plan.order[begin:end]) == end - begin - 1
        assert np.all(np.diff(plan.lengths[begin:end]) <= 0)


def test_the_longest_sequence_comes_first(blocks: int) -> None:
    lengths = np.random.default_rng(5).integers(1, 40, size=300)
    lengths[250] = 99
    assert BatchPlan(make_alignment(lengths), 100).order[0] == 250


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_gather_equals_a_loop(offset: int, single: bool, dtype: torch.dtype) -> None:
    alignment = make_alignment(np.array([5, 9, 2, 7]))
    if single:
        alignment = Alignment(**{**vars(alignment), "first": alignment.last})
    batch = BatchPlan(alignment, 1000).batch(0, 1000)
    count, tokens = batch.input_ids.shape
    z = torch.randn(count, tokens + offset, 3, 4).to(dtype)
    layouts: list[Any] = [z, z.transpose(1, 2).contiguous().transpose(1, 2)]
    for layout in layouts:
        got = Gather(batch, offset=offset, device=z.device)(layout)
        assert got.shape == (len(batch.rows), 3, 4)
        for row in range(len(batch.rows)):
            begin, end = batch.first[row] + offset, batch.last[row] + offset + 1
            expected = z[batch.sequence[row], begin:end].double().mean(dim=0)
            if single:
                assert torch.equal(got[row].double(), expected)
            torch.testing.assert_close(got[row].double(), expected, rtol=1e-5, atol=1e-5)


def test_gather_keeps_nothing_of_the_batch_alive() -> None:
    batch = BatchPlan(make_alignment(np.array([5, 9, 2, 7])), 1000).batch(0, 1000)
    z = torch.randn(*batch.input_ids.shape, 3, 4)
    got = Gather(batch, offset=0, device=z.device)(z)
    assert got.untyped_storage().nbytes() == got.nbytes


@pytest.mark.parametrize("count", [1, 2, 3, 7, 1000])
def test_shards_are_whole_batches_of_the_plan(blocks: int, count: int) -> None:
    lengths = np.random.default_rng(6).integers(1, 40, size=200)
    plan = BatchPlan(make_alignment(lengths), 100)
    begins = [batch.position for batch in all_batches(plan, 100)] + [len(plan)]
    ranges = [plan.range_of(Shard(index, count)) for index in range(count)]
    assert ranges[0][0] == 0 and ranges[-1][1] == len(plan)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(ranges))
    assert {position for span in ranges for position in span} <= set(begins)
    if count <= 3:  # of similar work, up to a batch
        padded = [
            sum(b.input_ids.numel() for b in all_batches(plan, 100, begin, end))
            for begin, end in ranges
        ]
        assert max(padded) - min(padded) <= 2 * 100


def test_no_batch_goes_beyond_the_end_of_a_shard() -> None:
    """Smaller batches than those that the shards were cut by, after memory ran out."""
    lengths = np.random.default_rng(7).integers(1, 40, size=200)
    plan = BatchPlan(make_alignment(lengths), 100)
    begin, end = plan.range_of(Shard(1, 3))
    found = all_batches(plan, 70, begin, end)
    assert found[-1].position + found[-1].count == end
    assert all(batch.count > 0 for batch in found)


@pytest.mark.parametrize(("index", "count"), [(-1, 2), (2, 2), (0, 0)])
def test_a_shard_that_is_none(index: int, count: int) -> None:
    with pytest.raises(UserError, match=rf"shard={index}/{count}: allowed: 0/N|shard="):
        Shard(index, count)
