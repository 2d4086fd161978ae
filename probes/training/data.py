"""Chunks of an activation cache: each is read once, in the order of the file."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from probes.core.errors import UserError
from probes.solver import SelectedRows
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

    def stored(self, rows: Tensor, *, together: bool) -> SelectedRows:
        """(H, n, D) the given rows of the cache as they are stored, or (1, n, H*D) with the units
        of the layer side by side; no copy."""
        every = len(rows) == self.z.shape[1]
        return SelectedRows(self.z, None if every else rows.to(self.z.device), together)

    def copied(self, rows: Tensor, *, together: bool) -> Tensor:
        """The same in float32: a copy, unless all units are stored like that."""
        stored = self.stored(rows, together=together)
        if stored.rows is None and not together and self.z.dtype == torch.float32:
            return self.z
        H, n, D = stored.shape
        taken = torch.empty(H, n, D, device=self.z.device)
        # One unit after another: a copy of all of them as they are stored would take memory too.
        views = taken.view(n, *self.z.shape[::2]).unbind(1) if together else taken
        for unit, own in zip(views, self.z, strict=True):
            unit.copy_(own if stored.rows is None else own.index_select(0, stored.rows))
        return taken


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

    A chunk in work takes what is stored, which is a map of a file, a float32 copy of a task's rows
    (of probes that are not linear) and another of the fit's own. One head is the least: where that
    is above the budget, it raises ``UserError``. A layer that does not fit whole is not probed as a
    whole.
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
    """One item is one chunk, checked when it is asked for and read when it is used.

    It is a map of its file: the system takes pages back where it needs them, so that what a chunk
    takes of the memory does not grow with the rows.
    """

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

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, item: int) -> Chunk:
        chunk, parts = self.chunks[item]
        source = self.sources[chunk.source]
        cache, info = source.cache, source.cache.layers[chunk.index]
        heads = range(chunk.start, chunk.stop)
        z = cache.mapped(info, slice(chunk.start, chunk.stop))
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
