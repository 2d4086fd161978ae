"""Exact effects: what every head changes when it alone is edited.

The clean run of a batch is kept, and the pass of an edited head begins at its layer
(``models.restart``); heads of a layer are edited side by side in one batch.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from probes.core.shown_progress import ShownProgress
from probes.interventions.direct_readout import DirectReadout
from probes.interventions.measures import part_sums
from probes.interventions.readout import Readout
from probes.interventions.replacements import Replacement
from probes.models.hooks import hooked
from probes.models.restart import Restart
from probes.models.sites import Site
from probes.passes.batches import Batch, BatchPlan
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

    def run(
        self, plan: BatchPlan, edits: Mapping[str, Replacement], *, label: str | None = None
    ) -> dict[str, HeadValues]:
        """The values of every head under each of the edits, which share the clean run.

        edits: by name. label: shown with the progress.
        """
        sums = {name: self._sums() for name in edits}
        by_site: dict[Site, list[int]] = {}
        for number, (site, _) in enumerate(self.heads):
            by_site.setdefault(site, []).append(number)
        passes = len(edits) * len(by_site)
        with ShownProgress(label, plan.tokens_between(0, len(plan)) * passes) as shown:

            def run(batch: Batch) -> None:
                scores = self._batch(batch, edits, by_site, shown)
                # Reached once for each batch: one that ran out of memory is begun again.
                for name, of_edit in scores.items():
                    for kind, into in sums[name].items():
                        part_sums(self.readout.texts, batch.rows, of_edit[kind], into)

            run_batches(plan, run, Keeper())
        heads = tuple(self.heads)
        return {
            name: HeadValues(
                heads,
                of["clean"][0],
                of["edited"],
                of["direct_clean"][0] if self.direct else None,
                of["direct"] if self.direct else None,
            )
            for name, of in sums.items()
        }

    def _sums(self) -> dict[str, Tensor]:
        """Zeros for what is added up of one edit."""
        parts, heads = len(self.readout.texts.row), len(self.heads)
        sums = {"clean": torch.zeros(1, parts, dtype=torch.float64)}
        sums["edited"] = torch.zeros(heads, parts, dtype=torch.float64)
        if self.direct is not None:
            sums |= {"direct_clean": sums["clean"].clone(), "direct": sums["edited"].clone()}
        return sums

    def _batch(
        self,
        batch: Batch,
        edits: Mapping[str, Replacement],
        by_site: Mapping[Site, list[int]],
        shown: ShownProgress,
    ) -> dict[str, dict[str, Tensor]]:
        """The scores of a batch, (1 or H, n), of each edit and kind of ``_sums``."""
        reading = self.direct.reading(batch) if self.direct else nullcontext()
        with self.restart.keeping(), reading:
            clean = self.readout(batch)  # (1, n)
        shape = (len(self.heads), clean.shape[1])
        scores = {name: {"clean": clean, "edited": torch.empty(shape)} for name in edits}
        try:
            for name, edit in edits.items():
                edit.begin(batch)
                if self.direct is not None:
                    nothing = torch.full(shape, torch.nan)
                    scores[name] |= {"direct_clean": self.direct.clean(batch), "direct": nothing}
                for site, numbers in by_site.items():
                    values, where = edit.values(site), edit.where(batch, site)
                    heads = [self.heads[number][1] for number in numbers]
                    if self.direct is not None and self.direct.covers(site):
                        said = self.direct.edited(site, values, where, heads, batch)
                        scores[name]["direct"][numbers] = said.float()
                    for some in _chunks(numbers, self._side_by_side(batch)):
                        put = _Put(values, where, [self.heads[number][1] for number in some])
                        with (
                            self.restart.resuming(site, variants=len(some)),
                            hooked(self.restart.body, [site], put),
                        ):
                            said = self.readout(batch, variants=len(some))
                        scores[name]["edited"][some] = said.float()
                    shown.advance(batch.tokens, line=f"{name}, layer {site.layer}")
        finally:
            self.restart.forget()
        return scores

    def _side_by_side(self, batch: Batch) -> int:
        """How many heads are edited in one pass."""
        by_tokens = self.tokens_at_once // batch.input_ids.numel()
        by_memory = self.memory_budget // 4 // max(1, self.readout.bytes_of_variant(batch))
        return max(1, min(by_tokens, by_memory))


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


def _chunks(numbers: Sequence[int], size: int) -> list[list[int]]:
    """Equal parts of at most ``size``: three of three, not four, four and one."""
    count = -(-len(numbers) // size)
    return [list(part) for part in np.array_split(np.asarray(numbers), count)]
