"""Steering: passes in which a constant is added to the outputs of a set of heads.

``z_h += strength * sigma_h * theta_h`` at chosen tokens of every text of a batch. Sets and
strengths stand side by side in one pass, which begins at the first layer that any of them edits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from probes.core.errors import UserError
from probes.core.shown_progress import ShownProgress
from probes.interventions.directions import Push
from probes.interventions.effect_parts import UNNAMED, EffectPart, EffectParts, NotKept
from probes.interventions.measures import part_sums, row_values
from probes.interventions.readout import Readout
from probes.interventions.scored_texts import ScoredTexts
from probes.models.forward import token_offset
from probes.models.hf_config import Kind
from probes.models.hooks import hooked
from probes.models.restart import Restart
from probes.models.sites import Site
from probes.passes.batches import Batch, BatchPlan
from probes.passes.loop import run_batches
from probes.passes.visitor import Keeper
from probes.statistics.groups import Array

Positions = Literal["last", "generated", "all"]


@dataclass(frozen=True)
class SteeredTokens:
    """Which tokens of a text are pushed."""

    texts: ScoredTexts
    positions: Positions

    def require_some(self) -> None:
        """Raise ``UserError`` where no token of any text would be pushed."""
        if self.positions == "generated" and not self._generated.any():
            raise UserError(
                "steering.positions=generated: every answer is one token that is predicted, so "
                "nothing of it is read by the model",
                allowed="last, all; generated for answers of several tokens",
                fix="steering.positions=last",
            )

    @property
    def _generated(self) -> np.ndarray:
        """(R,) reads at a token of an answer: all of a part but the first, which is before it."""
        order = np.lexsort((self.texts.alignment.last, self.texts.part))
        first = np.ones(len(order), dtype=bool)
        first[1:] = self.texts.part[order][1:] != self.texts.part[order][:-1]
        generated = np.zeros(len(order), dtype=bool)
        generated[order] = ~first
        return generated

    def of(self, batch: Batch, offset: int) -> Tensor:
        """(B, T + offset) whether each token is pushed; see ``token_offset``.

        last: the tokens that are read, all of a unit of several. generated: those of an answer
        that the model is given back. all: every token but the first.
        """
        if self.positions == "all":
            where = batch.attention_mask.bool()
            first = where.long().argmax(dim=1)  # (B,) not 0 with padding on the left
            where[torch.arange(len(where)), first] = False
        else:
            where = torch.zeros_like(batch.attention_mask, dtype=torch.bool)
            kept = np.ones(len(batch.rows), dtype=bool)
            if self.positions == "generated":
                kept = self._generated[batch.rows]
            reads = zip(batch.sequence[kept], batch.first[kept], batch.last[kept], strict=True)
            for sequence, first_token, last_token in reads:
                where[sequence, first_token : last_token + 1] = True
        return torch.nn.functional.pad(where, (offset, 0))


@dataclass(frozen=True)
class Steerer:
    """Runs texts with sets of heads pushed."""

    restart: Restart
    kind: Kind
    sites: Sequence[Site]
    """All that may be pushed, in the order of a pass."""
    memory_budget: int = 1 << 30
    """Bytes for the logits of sets side by side."""
    tokens_at_once: int = 4096
    """Padded tokens of a pass with sets side by side."""
    parts: EffectParts = field(default_factory=NotKept)
    """Keeps scores as they come."""

    def run(
        self,
        plan: BatchPlan,
        readout: Readout,
        tokens: SteeredTokens,
        sets: Sequence[Sequence[Push]],
        *,
        named: EffectPart = UNNAMED,
        label: str | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Sums over the reads of each part: of the pass as it is (P,), and of each set (V, P).

        sets: what is pushed together, with its strength. A set that pushes nothing has the values
            of the pass as it is, without a pass of its own. named: method, feature and texts of
            the parts that are kept. label: shown with the progress.
        """
        tokens.require_some()
        parts = len(readout.texts.row)
        clean = torch.zeros(1, parts, dtype=torch.float64)
        steered = torch.zeros(len(sets), parts, dtype=torch.float64)
        place = {site: number for number, site in enumerate(self.sites)}
        start = [min((place[p.site] for p in s if p.norm), default=-1) for s in sets]
        pushing = sorted((n for n in range(len(sets)) if start[n] >= 0), key=lambda n: start[n])
        idle = [number for number in range(len(sets)) if start[number] < 0]
        with ShownProgress(label, plan.tokens_between(0, len(plan)) * len(pushing)) as shown:

            def run(batch: Batch) -> None:
                chunks = _parts(pushing, self._side_by_side(batch, readout))
                names = [
                    named.at(named.edit, self.sites[start[some[0]]], tuple(some), batch.span)
                    for some in chunks
                ]
                kept = [self.parts.load(name) for name in names]
                plain = next((values["plain"] for values in kept if values is not None), None)
                if plain is None or None in kept:
                    with self.restart.keeping():
                        plain = readout(batch)  # (1, n)
                scores = torch.empty(len(sets), plain.shape[1])
                scores[idle] = plain.float()
                try:
                    for some, name, values in zip(chunks, names, kept, strict=True):
                        if values is None:
                            pushed = self._pushed(batch, readout, tokens, [sets[n] for n in some])
                            values = {"plain": plain, "pushed": pushed}
                            self.parts.save(name, values)
                        scores[some] = values["pushed"]
                        shown.advance(batch.tokens * len(some), line=f"from layer {name.layer}")
                finally:
                    self.restart.forget()
                # Reached once for each batch: one that ran out of memory is begun again.
                part_sums(readout.texts, batch.rows, plain, clean)
                part_sums(readout.texts, batch.rows, scores, steered)

            run_batches(plan, run, Keeper())
        return clean[0], steered

    def _pushed(
        self,
        batch: Batch,
        readout: Readout,
        tokens: SteeredTokens,
        sets: Sequence[Sequence[Push]],
    ) -> Tensor:
        """(V, n) scores of the reads with each of these sets pushed."""
        add = _Add(self.kind, batch, tokens, sets)
        sites = [site for site in self.sites if site in add.pushes]
        with (
            self.restart.resuming(sites[0], variants=len(sets)),
            hooked(self.restart.body, sites, add),
        ):
            return readout(batch, variants=len(sets)).float()

    def changes(
        self,
        plan: BatchPlan,
        readout: Readout,
        tokens: SteeredTokens,
        sets: Sequence[Sequence[Push]],
        *,
        named: EffectPart = UNNAMED,
        label: str | None = None,
    ) -> Array:
        """The measure of each row with a set pushed minus without: (V, N)."""
        clean, steered = self.run(plan, readout, tokens, sets, named=named, label=label)
        before = row_values(readout.texts, clean[None], readout.measure)  # (1, N)
        return (row_values(readout.texts, steered, readout.measure) - before).numpy()

    def _side_by_side(self, batch: Batch, readout: Readout) -> int:
        by_tokens = self.tokens_at_once // batch.input_ids.numel()
        by_memory = self.memory_budget // 4 // max(1, readout.bytes_of_variant(batch))
        return max(1, min(by_tokens, by_memory))


class _Add:
    """The edit of sets side by side: variant v has the pushes of set v added."""

    def __init__(
        self, kind: Kind, batch: Batch, tokens: SteeredTokens, sets: Sequence[Sequence[Push]]
    ) -> None:
        self.kind, self.batch, self.tokens, self.count = kind, batch, tokens, len(sets)
        self.pushes: dict[Site, list[tuple[int, Push]]] = {}
        for variant, pushes in enumerate(sets):
            for push in pushes:
                if push.norm:
                    self.pushes.setdefault(push.site, []).append((variant, push))

    def __call__(self, site: Site, z: Tensor) -> Tensor:
        where = self.tokens.of(self.batch, token_offset(self.kind, site.stream)).to(z.device)
        edited = z.unflatten(0, (self.count, -1)).clone()  # (V, B, T, H, D)
        for variant, push in self.pushes[site]:
            old = edited[variant, ..., push.head, :]  # (B, T, D)
            new = old + push.vector.to(z.device, z.dtype)
            edited[variant, ..., push.head, :] = torch.where(where[..., None], new, old)
        whole: Tensor = edited.flatten(0, 1)
        return whole


def all_times(
    sets: Mapping[str, Sequence[Push]], strengths: Sequence[float]
) -> list[tuple[str, float, list[Push]]]:
    """Every set at every strength: its name, the strength, and what is added."""
    return [
        (name, strength, [push.times(strength) for push in pushes])
        for name, pushes in sets.items()
        for strength in strengths
    ]


def _parts(numbers: Sequence[int], size: int) -> list[list[int]]:
    """Equal parts of at most ``size``."""
    count = -(-len(numbers) // size)
    return [list(map(int, part)) for part in np.array_split(np.asarray(numbers), max(1, count))
            if len(part)]  # fmt: skip
