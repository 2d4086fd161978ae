"""A model whose heads are edited: its sites, and passes that begin where an edit is made."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from probes.core.errors import UserError
from probes.interventions.direct_readout import DirectReadout
from probes.interventions.effect_parts import EffectParts, NotKept
from probes.interventions.exact import ExactEffects, Head
from probes.interventions.measures import Measure
from probes.interventions.readout import LogitReadout, ProbeReadout, Readout
from probes.interventions.scored_texts import ScoredTexts
from probes.models.handle import Handle
from probes.models.hf_config import field_of
from probes.models.language_model import body_of
from probes.models.residual import ResidualStream
from probes.models.residual_search import find_residual_stream
from probes.models.restart import Restart
from probes.models.sites import Site, find_sites
from probes.models.verification import verify_sites
from probes.passes.batches import BatchPlan
from probes.training.bank import ProbeBank

log = logging.getLogger(__name__)

ALL_HEADS, MLP = "all_heads", "mlp_output"


@dataclass(frozen=True)
class DownstreamProbe:
    """A probe of the last layer's residual stream: one, or one for each fold."""

    site: Site
    banks: tuple[ProbeBank, ...]


@dataclass
class Editor:
    """What all methods that edit share."""

    handle: Handle
    model: nn.Module
    body: nn.Module
    sites: list[Site]
    """Of the heads that are edited, in the order of a pass."""
    layers: dict[str, list[Site]]
    """Whole-layer sites that are edited beside them, by kind."""
    restart: Restart
    stream: ResidualStream | None
    """The residual stream that direct effects are carried along; None: why not is in ``notes``."""
    notes: list[str]
    tokens_per_batch: int
    memory_budget: int
    progress: bool
    parts: EffectParts = field(default_factory=NotKept)
    """Keeps effects as they come."""

    @classmethod
    def open(
        cls,
        handle: Handle,
        *,
        head: bool,
        layers: Sequence[int] | None,
        whole_layers: bool,
        tokens_per_batch: int,
        memory_budget: int,
        progress: bool,
        parts: EffectParts | None = None,
    ) -> Editor:
        """Load the model, find and verify its heads, and prove that passes can begin at a layer.

        head: with the language-model head. layers: only these are edited. whole_layers: edit all
        heads of a layer together, and its MLP, too. parts: where effects are kept as they come.

        Raises:
            UserError: whatever loading the model and finding its heads refuse.
        """
        model = handle.load(head=head)
        body = body_of(model)
        projection = handle.settings.head_projection
        sites = find_sites(body, layers=layers, head_projection=projection)
        alone = tokens_per_batch == 1  # no batch has any padding then
        verify_sites(body, sites, padding=() if alone else ("right",))
        restart = Restart(body, handle.kind)
        restart.prove(sites)
        if not restart.possible:
            log.info(
                "%s hands on more between its layers than what they return: every edit takes a "
                "whole pass",
                type(body).__name__,
            )
        of_layers: dict[str, list[Site]] = {}
        if whole_layers:
            edited = {(site.stream, site.layer) for site in sites}
            of_layers[MLP] = [
                site
                for site in find_sites(body, MLP, head_projection=projection)
                if (site.stream, site.layer) in edited
            ]
        notes: list[str] = []
        stream = None
        try:
            stream = find_residual_stream(model, head_projection=projection)
        except UserError as error:
            notes.append(f"direct effects are not measured: {error}")
        return cls(
            handle, model, body, sites, of_layers, restart, stream, notes, tokens_per_batch,
            memory_budget, progress, parts or NotKept(),
        )  # fmt: skip

    @property
    def heads(self) -> list[Head]:
        """All heads that are edited."""
        return [(site, head) for site in self.sites for head in range(site.units)]

    @property
    def units(self) -> dict[str, list[Head]]:
        """All that is edited alone, by kind of site in the results."""
        units = {"heads": self.heads}
        if self.layers:
            units[ALL_HEADS] = [(site, None) for site in self.sites]
            units |= {kind: [(site, 0) for site in sites] for kind, sites in self.layers.items()}
        return units

    @property
    def all_sites(self) -> list[Site]:
        """Where values are read that take the place of others, in any order."""
        return [*self.sites, *(site for sites in self.layers.values() for site in sites)]

    def plan(self, texts: ScoredTexts, *, share: int = 4) -> BatchPlan:
        """Batches that leave room to edit several heads side by side."""
        return BatchPlan(texts.alignment, self.affordable(self.tokens_per_batch // share))

    def affordable(self, tokens: int) -> int:
        """Fewer tokens, where what is kept of a batch would not fit the budget.

        Of each token the hidden state of every layer is kept, and the outputs of all heads in the
        text that is patched from.
        """
        widths = sum(site.units * site.width for site in self.all_sites)
        hidden = field_of(self.body.config, "hidden_size", "d_model", "n_embd", "dim")
        element = torch.empty(0, dtype=getattr(torch, self.handle.dtype)).element_size()
        a_token = element * (widths + hidden * len({(s.stream, s.layer) for s in self.sites}))
        return max(1, min(tokens, self.memory_budget // (2 * a_token)))

    def readout(
        self,
        texts: ScoredTexts,
        measure: Measure,
        probe: DownstreamProbe | None = None,
        *,
        fold: int = 0,
    ) -> Readout:
        """What scores the reads of these texts."""
        if measure.score is not None:
            size: int = field_of(self.body.config, "vocab_size")
            return LogitReadout(self.model, self.handle.kind, texts, measure, size)
        assert probe is not None, "downstream is scored by a probe"
        which = np.full(len(texts.targets), min(fold, len(probe.banks) - 1))
        return ProbeReadout(
            self.body, self.handle.kind, texts, measure, probe.site, probe.banks, which
        )

    def exact(self, readout: Readout, heads: Sequence[Head]) -> ExactEffects:
        """Edits each of these heads alone."""
        direct = None
        alignment = readout.texts.alignment
        one_token = np.array_equal(alignment.first, alignment.last)
        if self.stream is not None and one_token:
            direct = DirectReadout(self.stream, self.body, self.handle.kind, readout)
        return ExactEffects(
            self.restart,
            readout,
            heads,
            direct=direct,
            memory_budget=self.memory_budget,
            tokens_at_once=self.tokens_per_batch,
            parts=self.parts,
        )

    def label(self, name: str) -> str | None:
        """What is shown with the progress of a part; nothing where it is switched off."""
        return name if self.progress else None


def sequences_of(texts: ScoredTexts) -> list[Any]:
    """Token ids of each sequence."""
    alignment = texts.alignment
    return [
        np.asarray(alignment.ids[begin:end], dtype=np.int64)
        for begin, end in zip(alignment.offsets[:-1], alignment.offsets[1:], strict=True)
    ]
