"""What takes the place of a head's output, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from probes.core.errors import UserError
from probes.interventions.scored_texts import IntArray, ScoredTexts
from probes.models.forward import forward, token_offset
from probes.models.hf_config import Kind
from probes.models.hooks import hooked
from probes.models.sites import Site
from probes.passes.batches import Batch
from probes.passes.visitor import Output, Visitor

Positions = Literal["all", "read"]


@dataclass(frozen=True)
class Places:
    """Which tokens are edited."""

    positions: Positions = "all"
    """all: every token of the text; read: those that are scored."""
    first_token: bool = False
    """Whether the first token of a sequence is among them."""

    def of(self, batch: Batch, offset: int) -> Tensor:
        """(B, T + offset) whether each token is edited; see ``token_offset``."""
        if self.positions == "read":
            where = torch.zeros_like(batch.attention_mask, dtype=torch.bool)
            where[batch.sequence, batch.last] = True
        else:
            where = batch.attention_mask.bool()
        where = torch.nn.functional.pad(where, (offset, 0))  # the start token is no text
        if not self.first_token:
            where[:, offset] = False
        return where


class Replacement(Protocol):
    """Values for a head's output in the texts of a batch."""

    def begin(self, batch: Batch) -> None:
        """A batch is about to be edited."""

    def values(self, site: Site) -> Tensor:
        """What is put there: (B, T, H, D), or with 1 for any of the first two."""
        ...

    def where(self, batch: Batch, site: Site) -> Tensor:
        """(B, T) the tokens that are edited."""
        ...


@dataclass
class Constant:
    """The same values in every text: zero, or means over training texts."""

    kind: Kind
    places: Places
    of_site: dict[Site, Tensor] = field(default_factory=dict)
    """(H, D) of each site; a site without values gets zeros."""

    def begin(self, batch: Batch) -> None:
        """Nothing to do: all texts get the same."""

    def values(self, site: Site) -> Tensor:
        """(1, 1, H, D)."""
        if site in self.of_site:
            return self.of_site[site][None, None]
        return torch.zeros(1, 1, site.units, site.width)

    def where(self, batch: Batch, site: Site) -> Tensor:
        """(B, T) the places."""
        return self.places.of(batch, token_offset(self.kind, site.stream))


@dataclass
class FromOtherTexts:
    """The outputs in another text at the same position, counted from the end or from the start."""

    body: nn.Module
    kind: Kind
    sites: Sequence[Site]
    places: Places
    sequences: Sequence[IntArray]
    """Token ids of all texts that can be taken."""
    partner: IntArray
    """(S,) which of them each sequence of the plan gets; -1: none, and it is not edited."""
    sequence_of: IntArray
    """(positions of the plan,) sequence at each position of the plan."""
    _read: dict[Site, Tensor] = field(default_factory=dict)
    _there: Tensor | None = None

    def begin(self, batch: Batch) -> None:
        """Run the partners of a batch, and keep their outputs at all sites."""
        mine = self.sequence_of[batch.position : batch.position + batch.count]
        partners = [int(self.partner[s]) for s in mine]
        given = [self.sequences[p] if p >= 0 else np.zeros(1, np.int64) for p in partners]
        longest = max(map(len, given))
        ids = torch.zeros(len(given), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, tokens in enumerate(given):
            ids[row, : len(tokens)] = torch.from_numpy(np.array(tokens, dtype=np.int64))
            mask[row, : len(tokens)] = 1
        lengths = batch.attention_mask.sum(dim=1)  # (B,)
        shift = torch.tensor([len(tokens) for tokens in given]) - lengths  # (B,) from the end
        token = torch.arange(batch.input_ids.shape[1])[None] + shift[:, None]  # (B, T)
        self._there = (token >= 1) & (torch.tensor(partners) >= 0)[:, None]
        self._there[:, 0] |= (shift == 0) & (torch.tensor(partners) >= 0)
        self._read.clear()
        rows = torch.arange(len(given))[:, None]

        def keep(site: Site, z: Tensor) -> None:
            offset = token_offset(self.kind, site.stream)
            at = torch.nn.functional.pad(token + offset, (offset, 0))
            self._read[site] = z[rows, at.clamp(0, z.shape[1] - 1)]  # (B, T, H, D), a copy

        with hooked(self.body, self.sites, keep, stop_after_last=True):
            forward(self.body, self.kind, ids, mask)

    def values(self, site: Site) -> Tensor:
        """(B, T, H, D) of the partners of the batch."""
        return self._read[site]

    def where(self, batch: Batch, site: Site) -> Tensor:
        """(B, T) the places at which the partner has a token."""
        assert self._there is not None
        offset = token_offset(self.kind, site.stream)
        there = torch.nn.functional.pad(self._there, (offset, 0))
        return self.places.of(batch, offset) & there


class Means(Visitor):
    """Means of every head's output over the edited tokens of texts, in float64."""

    def __init__(self, kind: Kind, sites: Sequence[Site], places: Places) -> None:
        self.kind, self.sites, self.places = kind, sites, places
        self.total: dict[Site, Tensor] = {}
        self.count: dict[Site, int] = {}
        self._batch: dict[Site, tuple[Tensor, int]] = {}
        self._now: Batch | None = None

    def begin(self, batch: Batch) -> None:
        """Drop what an attempt at this batch has added up."""
        self._now = batch
        self._batch.clear()

    def visit(self, site: Site, z: Tensor) -> None:
        """Sum over the edited tokens."""
        assert self._now is not None
        where = self.places.of(self._now, token_offset(self.kind, site.stream)).to(z.device)
        self._batch[site] = (z[where].double().sum(dim=0), int(where.sum()))  # (H, D)

    def end(self, batch: Batch, output: Output) -> None:
        """Add the batch up."""
        for site, (total, count) in self._batch.items():
            self.total[site] = self.total.get(site, torch.zeros_like(total)) + total
            self.count[site] = self.count.get(site, 0) + count

    def finish(self) -> dict[Site, Tensor]:
        """(H, D) float32 mean of each site.

        Raises:
            UserError: where no training text has a token that is edited.
        """
        for site, count in self.count.items():
            if not count:
                raise UserError(
                    f"no training text has a token at which layer {site.layer} would be edited",
                    fix="ablation.positions=all, or ablation.first_token=true",
                )
        return {site: (total / self.count[site]).float() for site, total in self.total.items()}


def draw_partners(
    texts: ScoredTexts,
    pool: ScoredTexts,
    *,
    seed: int,
    matched: bool = False,
) -> IntArray:
    """(S,) for each sequence a random one of the pool that is at least as long; -1: there is none.

    matched: only those with the same answer and alternatives (the same targets and others of their
        last read). A sequence is never its own partner.
    """
    random = np.random.default_rng(seed)
    key, pool_key = answers_of(texts), answers_of(pool)
    lengths, pool_lengths = texts.alignment.lengths, pool.alignment.lengths
    by_key: dict[object, list[int]] = {}
    for number, name in enumerate(pool_key):
        by_key.setdefault(name if matched else None, []).append(number)
    sorted_by_length = {
        name: np.array(sorted(numbers, key=lambda n: pool_lengths[n]))
        for name, numbers in by_key.items()
    }
    partners = np.full(len(lengths), -1, dtype=np.int64)
    examples, pool_examples = texts.alignment.example, pool.alignment.example
    for number in range(len(lengths)):
        candidates = sorted_by_length.get(key[number] if matched else None, np.zeros(0, int))
        long_enough = candidates[np.searchsorted(pool_lengths[candidates], lengths[number]) :]
        long_enough = long_enough[pool_examples[long_enough] != examples[number]]
        if len(long_enough):
            partners[number] = random.choice(long_enough)
    return partners


def answers_of(texts: ScoredTexts) -> list[tuple[int, ...]]:
    """(S,) what is expected after each sequence: its targets, and the others of its last read."""
    alignment = texts.alignment
    keys: list[tuple[int, ...]] = []
    for number in range(len(alignment.example)):
        reads = alignment.grouped[alignment.bounds[number] : alignment.bounds[number + 1]]
        if not len(reads):
            keys.append(())
            continue
        last = int(reads[-1])
        others = sorted(texts.others[texts.bounds[last] : texts.bounds[last + 1]].tolist())
        keys.append((*texts.targets[reads].tolist(), -1, *others))
    return keys
