"""Exact effects: what every head changes when it alone is edited.

The clean run of a batch is kept, and the pass of an edited head begins at its layer
(``models.restart``); heads of a layer are edited side by side in one batch. What is measured at one
layer in one batch is a part (``effect_parts``), kept as soon as it is there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from probes.core.shown_progress import ShownProgress
from probes.interventions.direct_readout import DirectReadout
from probes.interventions.effect_parts import (
    UNNAMED,
    EffectPart,
    EffectParts,
    NotKept,
    PlannedEffect,
)
from probes.interventions.readout import Readout
from probes.interventions.replacements import Replacement
from probes.models.hooks import hooked
from probes.models.restart import Restart
from probes.models.sites import Site
from probes.passes.batches import Batch, BatchPlan, BatchSpan
from probes.passes.loop import run_batches
from probes.passes.visitor import Keeper

log = logging.getLogger(__name__)

Array = npt.NDArray[np.float64]
Head = tuple[Site, int | None]
"""A head of a site; None: all of them together."""


@dataclass(frozen=True)
class HeadValues:
    """Sums over the reads of every part: of the pass as it is, and with each head edited."""

    heads: tuple[Head, ...]
    clean: Tensor
    """(P,)"""
    edited: Tensor
    """(H, P)"""
    direct_clean: Tensor | None = None
    """(P,) by the end of the residual stream ..."""
    direct: Tensor | None = None
    """(H, P) ... and with what the edit changes carried to it; NaN for units of which that is not
    known. None: not measured."""


@dataclass
class ExactEffects:
    """Edits every head of a model alone, in every text of a plan."""

    restart: Restart
    readout: Readout
    heads: Sequence[Head]
    direct: DirectReadout | None = None
    """For direct effects beside the total ones."""
    memory_budget: int = 1 << 30
    """Bytes for what is kept of a batch, and for the logits of heads side by side."""
    tokens_at_once: int = 4096
    """Padded tokens of a pass with heads side by side."""
    parts: EffectParts = field(default_factory=NotKept)
    """Keeps each layer's effects as they come."""

    def run(
        self,
        plan: BatchPlan,
        edits: Mapping[str, Replacement],
        *,
        named: EffectPart = UNNAMED,
        label: str | None = None,
    ) -> dict[str, HeadValues]:
        """The values of every head under each of the edits, which share the clean run.

        edits: by name. named: method, feature and fold of the parts that are kept. label: shown
        with the progress.
        """
        sums = {name: _Sums(self) for name in edits}
        by_site: dict[Site, list[int]] = {}
        for number, (site, _) in enumerate(self.heads):
            by_site.setdefault(site, []).append(number)
        self.parts.plan(self._planned(plan, edits, by_site, named))
        passes = len(edits) * len(by_site)
        with ShownProgress(label, plan.tokens_between(0, len(plan)) * passes) as shown:

            def run(batch: Batch) -> None:
                values = self._batch(batch, edits, by_site, named, shown)
                # Reached once for each batch: one that ran out of memory is begun again.
                parts = np.unique(self.readout.texts.part[batch.rows])
                for name, of_sites in values.items():
                    sums[name].add(parts, by_site, of_sites)

            run_batches(plan, run, Keeper())
        return {name: of.values(self.heads) for name, of in sums.items()}

    def _batch(
        self,
        batch: Batch,
        edits: Mapping[str, Replacement],
        by_site: Mapping[Site, list[int]],
        named: EffectPart,
        shown: ShownProgress,
    ) -> dict[str, dict[Site, Mapping[str, Tensor]]]:
        """Sums of a batch by edit and site, those that were kept before without a pass.

        A site that is neither kept nor this process's own is left out.
        """
        values: dict[str, dict[Site, Mapping[str, Tensor]]] = {name: {} for name in edits}
        missing: dict[str, dict[Site, EffectPart]] = {}
        for name, site, part in self._parts_of(batch.span, edits, by_site, named):
            if (kept := self.parts.load(part)) is not None:
                values[name][site] = kept
            elif self.parts.is_own(part):
                missing.setdefault(name, {})[site] = part
                continue
            shown.advance(batch.tokens)
        if not missing:
            return values
        reading = self.direct.reading(batch) if self.direct else nullcontext()
        with self.restart.keeping(), reading:
            clean = {"clean": self._sum(self.readout(batch), batch)}
        try:
            for name, of_sites in missing.items():
                edits[name].begin(batch)
                if self.direct is not None:
                    clean["direct_clean"] = self._sum(self.direct.clean(batch), batch)
                for site, part in of_sites.items():
                    of_site = clean | self._edited(batch, edits[name], site, part.units)
                    self.parts.save(part, of_site)
                    values[name][site] = of_site
                    shown.advance(batch.tokens, line=f"{name}, layer {site.layer}")
        finally:
            self.restart.forget()
        return values

    def _parts_of(
        self,
        batch: BatchSpan,
        edits: Iterable[str],
        by_site: Mapping[Site, list[int]],
        named: EffectPart,
    ) -> Iterator[tuple[str, Site, EffectPart]]:
        """The parts of a batch, in their order, with edit and site."""
        for name in edits:
            for site, numbers in by_site.items():
                units = tuple(self.heads[number][1] for number in numbers)
                yield name, site, named.at(name, site, units, batch)

    def _planned(
        self,
        plan: BatchPlan,
        edits: Iterable[str],
        by_site: Mapping[Site, list[int]],
        named: EffectPart,
    ) -> list[PlannedEffect]:
        """All parts of a plan; a pass costs the layers from the one that is edited on."""
        layers = list(dict.fromkeys((site.stream, site.layer) for site in by_site))
        left = {site: len(layers) - layers.index((site.stream, site.layer)) for site in by_site}
        return [
            PlannedEffect(part, batch.padded * len(part.units) * left[site])
            for batch in plan.spans()
            for _, site, part in self._parts_of(batch, edits, by_site, named)
        ]

    def _edited(
        self, batch: Batch, edit: Replacement, site: Site, units: Sequence[int | None]
    ) -> dict[str, Tensor]:
        """Sums with each unit of a site edited, total and direct: (units, parts of the batch)."""
        values, where = edit.values(site), edit.where(batch, site)
        edited = []
        for some in _chunks(units, self._side_by_side(batch)):
            put = _Put(values, where, some)
            with (
                self.restart.resuming(site, variants=len(some)),
                hooked(self.restart.body, [site], put),
            ):
                edited.append(self.readout(batch, variants=len(some)).float())
        sums = {"edited": self._sum(torch.cat(edited), batch)}
        if self.direct is not None and self.direct.covers(site):
            direct = self.direct.edited(site, values, where, units, batch)
            sums["direct"] = self._sum(direct.float(), batch)
        return sums

    def _sum(self, scores: Tensor, batch: Batch) -> Tensor:
        """Scores of the reads of a batch (V, n), added up by the parts that they belong to."""
        texts = self.readout.texts
        parts, inverse = np.unique(texts.part[batch.rows], return_inverse=True)
        into = torch.zeros(len(scores), len(parts), dtype=torch.float64)
        return into.index_add_(-1, torch.from_numpy(inverse), scores.double())

    def _side_by_side(self, batch: Batch) -> int:
        """How many heads are edited in one pass."""
        by_tokens = self.tokens_at_once // batch.input_ids.numel()
        by_memory = self.memory_budget // 4 // max(1, self.readout.bytes_of_variant(batch))
        return max(1, min(by_tokens, by_memory))


class _Sums:
    """What one edit changes, over all batches."""

    def __init__(self, effects: ExactEffects) -> None:
        parts, heads = len(effects.readout.texts.row), len(effects.heads)
        self.of = {"clean": torch.zeros(1, parts, dtype=torch.float64)}
        self.of["edited"] = torch.zeros(heads, parts, dtype=torch.float64)
        if effects.direct is not None:
            self.of["direct_clean"] = torch.zeros_like(self.of["clean"])
            self.of["direct"] = torch.zeros_like(self.of["edited"])

    def add(
        self,
        parts: npt.NDArray[np.int64],
        by_site: Mapping[Site, list[int]],
        of_sites: Mapping[Site, Mapping[str, Tensor]],
    ) -> None:
        """Add a batch, with sums over these parts. What it lacks is not known: NaN."""
        for number, values in enumerate(of_sites.values()):
            for name in ("clean", "direct_clean") if number == 0 else ():
                if name in self.of:
                    self.of[name][:, parts] += values[name]
        for site, rows in by_site.items():
            values = of_sites.get(site, {})
            where = torch.tensor(rows)[:, None], torch.from_numpy(parts)[None]
            for name in ("edited", "direct"):
                if name in self.of:
                    self.of[name][where] += values.get(name, torch.tensor(torch.nan))

    def values(self, heads: Sequence[Head]) -> HeadValues:
        """The sums of all batches."""
        clean, direct_clean = self.of["clean"][0], self.of.get("direct_clean")
        return HeadValues(
            tuple(heads),
            clean,
            self.of["edited"],
            None if direct_clean is None else direct_clean[0],
            self.of.get("direct"),
        )


class _Put:
    """An edit in as many ways as there are heads: variant v has other values at its head."""

    def __init__(self, values: Tensor, where: Tensor, heads: Sequence[int | None]) -> None:
        self.values, self.where, self.heads = values, where, list(heads)

    def __call__(self, site: Site, z: Tensor) -> Tensor:
        where = self.where.to(z.device)[..., None, None]  # (B, T, 1, 1)
        values = self.values.to(z.device, z.dtype)  # (B or 1, T or 1, H, D)
        edited = z.unflatten(0, (len(self.heads), -1)).clone()  # (V, B, T, H, D)
        for variant, head in enumerate(self.heads):
            those = slice(None) if head is None else slice(head, head + 1)
            old = edited[variant, ..., those, :]  # (B, T, 1 or H, D)
            edited[variant, ..., those, :] = torch.where(where, values[..., those, :], old)
        whole: Tensor = edited.flatten(0, 1)
        return whole


def _chunks(units: Sequence[int | None], size: int) -> list[Sequence[int | None]]:
    """Equal parts of at most ``size``: three of three, not four, four and one."""
    count = -(-len(units) // size)
    ends = np.cumsum([0, *(len(part) for part in np.array_split(np.arange(len(units)), count))])
    return [units[begin:end] for begin, end in pairwise(ends)]
