"""Which sequences run together, and which tokens of a batch are read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from probes.passes.alignment import Alignment
from probes.passes.progress import Progress
from probes.passes.ranges import ranges
from probes.passes.shards import WHOLE, Shard

BLOCK_BATCHES = 64
"""Batches of a block. Fewer are written sooner and pad more: 1% more than one block for all
sequences at 64, 4% at 32."""

LongArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class BatchSpan:
    """Where a batch is in the order of the plan, without its tokens."""

    position: int
    """Sequences done before this batch."""
    count: int
    padded: int
    """Tokens with padding."""


@dataclass(frozen=True)
class Batch:
    """Sequences padded on the right, and the rows of the corpus that are read in them."""

    position: int
    """Sequences done before this batch, in the order of the plan."""
    count: int
    input_ids: Tensor
    """(B, T) int64; 0 under the padding."""
    attention_mask: Tensor
    """(B, T) int64."""
    rows: LongArray
    """(n,) rows, as the alignment numbers them."""
    sequence: LongArray
    """(n,) sequence of each row, as an index of the batch."""
    first: LongArray
    """(n,) first token read, in its sequence."""
    last: LongArray
    """(n,) last token read, inclusive."""

    @property
    def tokens(self) -> int:
        """Tokens without padding."""
        return int(self.attention_mask.sum())

    @property
    def span(self) -> BatchSpan:
        """Where it is in the order of the plan."""
        return BatchSpan(self.position, self.count, self.input_ids.numel())


class BatchPlan:
    """Blocks of neighbouring texts; within a block, sequences by descending length.

    Sorting leaves little padding in a batch. Sorting within blocks leaves the rows of many
    consecutive batches in one part of every file, so that a page is written to disk once, while
    later blocks are computed, and not again and again until the end. The block with the longest
    sequence comes first: a batch size that is too large for the memory shows at once, not an hour
    later.

    Where a batch ends depends on where it begins and on nothing before, so an interrupted run
    goes on with the very batches of an undisturbed one, and a shard has those of a single process.
    """

    def __init__(self, alignment: Alignment, tokens_per_batch: int) -> None:
        """``tokens_per_batch``: what the run begins with; it sets the size of the blocks."""
        self.alignment = alignment
        self.tokens_per_batch = tokens_per_batch
        lengths = alignment.lengths
        total = int(lengths.sum())
        blocks = max(1, round(total / (BLOCK_BATCHES * tokens_per_batch)))
        block = (np.cumsum(lengths) - lengths) * blocks // total  # (S,) ascending
        longest = np.zeros(blocks, dtype=np.int64)
        np.maximum.at(longest, block, lengths)
        # Stable sorts, so that the order is a function of the lengths alone.
        rank = np.empty(blocks, dtype=np.int64)
        rank[np.argsort(-longest, kind="stable")] = np.arange(blocks)
        self.order: LongArray = np.lexsort((-lengths, rank[block]))
        """(S,) sequence of the alignment at each position of the plan."""
        self.lengths: LongArray = lengths[self.order]
        """(S,) tokens of the sequence at each position."""
        self.block_ends: LongArray = np.cumsum(np.bincount(rank[block], minlength=blocks))

    def __len__(self) -> int:
        return len(self.order)

    def range_of(self, shard: Shard) -> tuple[int, int]:
        """Positions ``begin <= end`` of the sequences that a shard runs.

        Shards hold whole batches of the plan, with about the same number of padded tokens each,
        so that every sequence is padded as in a single process. Where there are more shards than
        batches, some are empty.
        """
        if shard == WHOLE:
            return 0, len(self)
        begins = self._begins
        padded = [span.padded for span in self.spans()]
        before = np.concatenate([[0], np.cumsum(padded)])  # (b + 1,)
        parts = np.arange(shard.index, shard.index + 2) / shard.count
        begin, end = begins[np.searchsorted(before, parts * before[-1])]
        return int(begin), int(end)

    def start(self, shard: Shard = WHOLE) -> Progress:
        """The progress of a shard of which nothing is done."""
        begin, _ = self.range_of(shard)
        return Progress(begin, 0, ((begin, self.tokens_per_batch),))

    def spans(self) -> list[BatchSpan]:
        """All batches of the plan, where memory suffices for the first token budget."""
        begins = self._begins
        counts = np.diff(begins)
        padded = counts * self.lengths[begins[:-1]]
        return [
            BatchSpan(*of_batch)
            for of_batch in zip(begins[:-1].tolist(), counts.tolist(), padded.tolist(), strict=True)
        ]

    @cached_property
    def _begins(self) -> LongArray:
        """(b + 1,) where each batch begins at the first token budget; the end of the plan last."""
        begins = [0]
        while begins[-1] < len(self):
            begins.append(self._end(begins[-1], self.tokens_per_batch, len(self)))
        return np.array(begins, dtype=np.int64)

    def _end(self, position: int, tokens_per_batch: int, limit: int) -> int:
        """The position after the batch that begins with ``position``."""
        longest = int(self.lengths[position])
        full = position + max(1, tokens_per_batch // longest)
        end = min(full, self.block_end(position), limit)
        quarter = position + tokens_per_batch // (4 * longest)
        if quarter < end:
            # A batch that is a quarter full takes no shorter sequences: they would be padded.
            lengths = self.lengths[position:end]
            shortest = self.lengths[quarter]
            end = position + int(np.searchsorted(-lengths, -shortest, side="right"))
        return end

    def batch(self, position: int, tokens_per_batch: int, end: int | None = None) -> Batch:
        """The batch that begins with the sequence at ``position``.

        tokens_per_batch: most tokens with padding, unless a single sequence has more. end: the
        position that no batch goes beyond, the end of a shard; None: that of the plan.
        """
        end = self._end(position, tokens_per_batch, len(self) if end is None else end)
        longest = int(self.lengths[position])
        chosen = self.order[position:end]  # (B,)
        lengths = self.lengths[position:end]  # (B,)
        mask = np.arange(longest) < lengths[:, None]  # (B, T)
        ids = np.zeros(mask.shape, dtype=np.int64)
        ids[mask] = self.alignment.ids[ranges(self.alignment.offsets[chosen], lengths)]

        begin = self.alignment.bounds[chosen]
        n_rows = self.alignment.bounds[chosen + 1] - begin
        rows = self.alignment.grouped[ranges(begin, n_rows)].astype(np.int64)
        return Batch(
            position=position,
            count=len(chosen),
            input_ids=torch.from_numpy(ids),
            attention_mask=torch.from_numpy(mask.astype(np.int64)),
            rows=rows,
            sequence=np.repeat(np.arange(len(chosen)), n_rows),
            first=self.alignment.first[rows].astype(np.int64),
            last=self.alignment.last[rows].astype(np.int64),
        )

    def block_end(self, position: int) -> int:
        """The first position after the block that holds ``position``."""
        return int(self.block_ends[np.searchsorted(self.block_ends, position, side="right")])

    def tokens_between(self, begin: int, end: int) -> int:
        """Tokens of the sequences at positions ``begin`` to ``end``, without padding."""
        return int(self.lengths[begin:end].sum())


class Gather:
    """Picks the rows of a batch out of a tensor of all its tokens."""

    def __init__(self, batch: Batch, *, offset: int, device: torch.device) -> None:
        """offset: where a stream holds the text's first token; see ``token_offset``."""
        tokens = batch.input_ids.shape[1] + offset
        start = batch.sequence * tokens + batch.first + offset
        lengths = batch.last - batch.first + 1
        self.bags: Tensor | None = None
        if (lengths > 1).any():
            index = ranges(start, lengths)
            self.bags = torch.from_numpy(np.cumsum(lengths) - lengths).to(device)
        else:
            index = start
        self.index = torch.from_numpy(index).to(device)

    def __call__(self, z: Tensor) -> Tensor:
        """Rows of ``z``: (batch, tokens, units, width) -> (n, units, width), a copy.

        Means are formed in float32 at least, before the result is rounded to what is stored.
        """
        units, width = z.shape[2:]
        flat = z.reshape(-1, units * width)  # (B * T, H * D), a view in all usual models
        if self.bags is None:
            picked = flat.index_select(0, self.index)  # (n, H * D)
        else:
            wide = flat if flat.dtype in (torch.float32, torch.float64) else flat.float()
            picked = F.embedding_bag(self.index, wide, self.bags, mode="mean")  # (n, H * D)
        return picked.view(-1, units, width)
