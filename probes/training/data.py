"""Chunks of an activation cache: each is read once, in the order of the file."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from probes.core.errors import UserError
from probes.training.parts import Part, PlannedPart, parts_of
from probes.training.problems import ActivationSource


@dataclass(frozen=True)
class Chunk:
    """Some heads of one layer, all rows of the cache."""

    source: ActivationSource
    stream: str
    layer: int
    heads: range
    parts: tuple[PlannedPart, ...]
    """What is fitted on them."""
    z: Tensor
    """(H, N, D) in the dtype of the cache."""

    def rows(self, rows: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """(H, n, D): the given rows of the cache, a copy; all rows as they are stored are none."""
        H, N, D = self.z.shape
        if len(rows) == N and dtype == self.z.dtype:
            return self.z
        taken = torch.empty(H, len(rows), D, dtype=dtype, device=self.z.device)
        for unit, own in zip(taken, self._each(rows), strict=True):
            unit.copy_(own)
        return taken

    def rows_together(self, rows: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """(1, n, H*D): the same with the units of the layer side by side, always a copy."""
        H, _, D = self.z.shape
        wide = torch.empty(len(rows), H, D, dtype=dtype, device=self.z.device)
        for unit, own in zip(wide.unbind(1), self._each(rows), strict=True):
            unit.copy_(own)
        return wide.view(1, len(rows), H * D)

    def _each(self, rows: Tensor) -> Iterator[Tensor]:
        """The rows (n, D) of one unit after another, as they are stored: a copy of all of them
        would take memory in addition to the one in float32."""
        every = len(rows) == self.z.shape[1]
        rows = rows.to(self.z.device)
        for unit in self.z:
            yield unit if every else unit.index_select(0, rows)


@dataclass(frozen=True)
class ChunkRange:
    """The heads of one chunk, and where they are stored."""

    source: int
    index: int
    """Position in ``cache.layers``."""
    start: int
    stop: int


def plan_chunks(
    sources: tuple[ActivationSource, ...], memory_budget: int
) -> tuple[list[ChunkRange], list[str]]:
    """Cut every layer into chunks that fit the budget; also sentences about what was left out.

    A chunk in work takes its stored copy, a float32 copy of a task's rows and another of the
    fit's own. One head is the least: where that is above the budget, it raises ``UserError``. A
    layer that does not fit whole is not probed as a whole.
    """
    ranges: list[ChunkRange] = []
    notes: list[str] = []
    for number, source in enumerate(sources):
        rows, itemsize = source.cache.n_rows, source.cache.dtype.itemsize
        for index, layer in enumerate(source.cache.layers):
            together = source.on_layer(layer.stream, layer.layer)
            if not (together or source.on_units(layer.stream, layer.layer)):
                continue
            need = rows * layer.width * (itemsize + (8 if source.edit is None else 16))
            if need > memory_budget:
                raise UserError(
                    f"memory_budget={_megabytes(memory_budget)} is too small for one unit of "
                    f"layer {layer.layer} ({source.site}, {rows} rows x {layer.width})",
                    allowed=f"{_megabytes(need)} or more",
                    fix=f"memory_budget={_megabytes(need)}",
                )
            step = min(layer.units, memory_budget // need)
            if step < layer.units and together:
                notes.append(
                    f"all heads of layer {layer.layer} ({layer.stream}) were not probed together: "
                    f"that takes memory_budget={_megabytes(need * layer.units)}"
                )
            # Equal chunks: a last chunk of one head would waste a batched product.
            count = -(-layer.units // step)
            for part in range(count):
                start, stop = part * layer.units // count, (part + 1) * layer.units // count
                ranges.append(ChunkRange(number, index, start, stop))
    return ranges, notes


def plan_parts(
    sources: Sequence[ActivationSource], probe_name: str, memory_budget: int
) -> tuple[list[PlannedPart], list[str]]:
    """All parts of a run in the order in which one process fits them; also sentences about what
    the memory budget left out.

    probe_name: of the kind of probe that is fitted.

    Raises:
        UserError: the budget is too small for one head.
    """
    ranges, notes = plan_chunks(tuple(sources), memory_budget)
    parts = [planned for chunk in ranges for planned in _parts(sources, chunk, probe_name)]
    names = [planned.part for planned in parts]
    assert len(set(names)) == len(names), "sources differ in site or probe, features in name"
    return parts, notes


def _parts(
    sources: Sequence[ActivationSource], c: ChunkRange, probe_name: str
) -> list[PlannedPart]:
    return parts_of(sources[c.source], c.index, c.start, c.stop, probe_name)


def _megabytes(size: int) -> str:
    return f"{-(-size // 10**6)}MB"


class ChunkDataset(Dataset[Chunk]):
    """One item is one chunk, read when it is asked for, into the buffer of the one before."""

    def __init__(
        self,
        sources: tuple[ActivationSource, ...],
        ranges: list[ChunkRange],
        probe_name: str,
        only: Collection[Part] | None = None,
    ) -> None:
        """probe_name: of the kind of probe that is fitted. only: these parts; None: all."""
        self.sources = sources
        planned = [
            (
                chunk,
                tuple(
                    p for p in _parts(sources, chunk, probe_name) if only is None or p.part in only
                ),
            )
            for chunk in ranges
        ]
        self.chunks = [(chunk, parts) for chunk, parts in planned if parts]
        self.buffer = torch.empty(0)

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, item: int) -> Chunk:
        chunk, parts = self.chunks[item]
        source = self.sources[chunk.source]
        cache, info = source.cache, source.cache.layers[chunk.index]
        heads = range(chunk.start, chunk.stop)
        shape = (len(heads), cache.n_rows, info.width)
        size = math.prod(shape)
        if self.buffer.dtype != cache.dtype or self.buffer.numel() < size:
            self.buffer = torch.empty(size, dtype=cache.dtype)
        z = cache.read(info, slice(chunk.start, chunk.stop), out=self.buffer[:size].view(shape))
        return Chunk(source, info.stream, info.layer, heads, parts, z)


class ChunkDataModule(lightning.LightningDataModule):
    """Chunks of several sources, one after the other.

    ``notes`` says what the memory budget left out. There are no worker processes: a chunk is large
    and used for seconds, and handing it between processes would copy it.
    """

    def __init__(
        self,
        sources: tuple[ActivationSource, ...],
        probe_name: str,
        *,
        memory_budget: int,
        only: Collection[Part] | None = None,
    ) -> None:
        super().__init__()
        ranges, self.notes = plan_chunks(sources, memory_budget)
        self.dataset = ChunkDataset(sources, ranges, probe_name, only)

    def train_dataloader(self) -> DataLoader[Chunk]:
        """The chunks, one by one."""
        return DataLoader(self.dataset, batch_size=None, shuffle=False, num_workers=0)

    def transfer_batch_to_device(
        self, batch: Chunk, device: torch.device, dataloader_idx: int
    ) -> Chunk:
        """Move the activations, not the labels."""
        return replace(batch, z=batch.z.to(device))
