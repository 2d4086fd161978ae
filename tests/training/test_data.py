"""Chunks: the budget decides their size, and each head is read once."""

from __future__ import annotations

import pytest
import torch

from probes.core.errors import UserError
from probes.training.data import Chunk, ChunkDataModule, plan_parts
from probes.training.problems import ActivationSource, ProblemSet, real_problem
from tests.training.synthetic import as_cache, make_labels, make_layer, make_task, memory

N, D = 50, 6
NEED = N * D * (4 + 8)  # bytes of one head: stored, a task's rows, the fit's copy


@pytest.fixture
def source() -> ActivationSource:
    labels = make_labels(N, 2)
    layers = [make_layer(labels, [1.0] * heads, D, seed) for seed, heads in enumerate((5, 2))]
    problem_set = ProblemSet(make_task(labels), (real_problem(make_task(labels)),))
    return ActivationSource("heads", as_cache(layers), (problem_set,), (problem_set,))


@pytest.mark.parametrize(
    ("heads", "sizes"), [(1, [1] * 7), (2, [1, 2, 2, 2]), (4, [2, 3, 2]), (5, [5, 2]), (99, [5, 2])]
)
def test_chunks_fit_the_budget_and_hold_every_head_once(
    source: ActivationSource, heads: int, sizes: list[int]
) -> None:
    data = ChunkDataModule((source,), "linear", memory_budget=heads * NEED + NEED // 2)
    seen: dict[tuple[int, int], torch.Tensor] = {}
    found = []
    for chunk in data.train_dataloader():
        assert len(chunk.heads) <= heads
        sites = [planned.part.site for planned in chunk.parts]
        whole = len(chunk.heads) == [5, 2][chunk.layer]
        assert sites == ["heads", "all_heads"] if whole else ["heads"]
        found.append(len(chunk.heads))
        seen |= {(chunk.layer, h): z.clone() for h, z in zip(chunk.heads, chunk.z, strict=True)}
    assert found == sizes
    assert memory(source).reads == dict.fromkeys(seen, 1)
    for (layer, head), z in seen.items():
        assert torch.equal(z, memory(source).tensors[layer][head])


def test_layers_too_large_to_probe_whole_are_named(source: ActivationSource) -> None:
    assert ChunkDataModule((source,), "linear", memory_budget=5 * NEED).notes == []
    (note,) = ChunkDataModule((source,), "linear", memory_budget=4 * NEED).notes
    assert "layer 0" in note and "memory_budget" in note


def test_a_budget_below_one_head_is_refused(source: ActivationSource) -> None:
    with pytest.raises(UserError, match="memory_budget") as caught:
        ChunkDataModule((source,), "linear", memory_budget=NEED - 1)
    assert "memory_budget=" in caught.value.fix


def test_only_the_chunks_of_wanted_parts_are_read(source: ActivationSource) -> None:
    parts, _ = plan_parts([source], "linear", 2 * NEED)
    assert [(p.part.site, p.part.layer, p.part.heads) for p in parts] == [
        ("heads", 0, (0,)),
        ("heads", 0, (1, 2)),
        ("heads", 0, (3, 4)),
        ("heads", 1, (0, 1)),
        ("all_heads", 1, (0,)),
    ]
    only = {parts[1].part, parts[4].part}
    data = ChunkDataModule((source,), "linear", memory_budget=2 * NEED, only=only)
    read = [(chunk.heads, [p.part for p in chunk.parts]) for chunk in data.train_dataloader()]
    assert read == [(range(1, 3), [parts[1].part]), (range(0, 2), [parts[4].part])]


@pytest.mark.parametrize("rows", [torch.arange(N), torch.tensor([3, 4, 40])])
def test_rows_apart_and_together(source: ActivationSource, rows: torch.Tensor) -> None:
    z = memory(source).tensors[0].half()
    chunk = Chunk(source, "encoder", 0, range(5), (), z)
    apart, together = chunk.copied(rows, together=False), chunk.copied(rows, together=True)
    assert apart.dtype == together.dtype == torch.float32
    assert torch.equal(apart, z[:, rows].float())
    assert together.shape == (1, len(rows), 5 * D)
    for h in range(5):
        assert torch.equal(together[0, :, h * D : (h + 1) * D], z[h, rows].float())
    for whole, copy in ((False, apart), (True, together)):
        stored = chunk.stored(rows, together=whole)
        assert stored.stored is z, "what is stored is not copied"
        assert stored.shape == copy.shape and stored.dtype == torch.float16
        assert torch.equal(stored[:, :].float(), copy)
    copy = apart.clone()
    apart += 1
    assert torch.equal(chunk.copied(rows, together=False), copy), "copied() must be a copy"


def test_a_chunk_is_no_copy_of_what_the_cache_gives(source: ActivationSource) -> None:
    dataset = ChunkDataModule((source,), "linear", memory_budget=2 * NEED).dataset
    assert dataset[1].z.data_ptr() == memory(source).tensors[0][1:3].data_ptr()
