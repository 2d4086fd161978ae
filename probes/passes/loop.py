"""The loop over batches, and what the hooks do in it."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

import torch
from torch import Tensor, nn

from probes.activations.background_writer import BackgroundWriter
from probes.activations.writer import Progress
from probes.core.errors import UserError
from probes.models.forward import forward, token_offset
from probes.models.handle import Handle
from probes.models.hooks import hooked
from probes.models.sites import Site
from probes.passes.batches import Batch, BatchPlan, Gather, is_out_of_memory
from probes.passes.progress import ProgressBar

log = logging.getLogger(__name__)


class Passes:
    """Forward passes of one body over the batches of one plan."""

    def __init__(
        self,
        handle: Handle,
        body: nn.Module,
        sites: dict[str, list[Site]],
        plan: BatchPlan,
        stage: BackgroundWriter,
        meter: ProgressBar,
    ) -> None:
        self.handle, self.body, self.plan = handle, body, plan
        self.stage, self.meter = stage, meter
        self.sites = [site for kind in sites.values() for site in kind]
        self.target = {
            site: (writer, index)
            for writer, kind in enumerate(sites.values())
            for index, site in enumerate(kind)
        }
        self.batch: Batch | None = None
        self.gathers: dict[tuple[int, torch.device], Gather] = {}

    def run(self, state: Progress, checkpoint_seconds: float) -> Progress:
        """Run from ``state`` to the end; halves the batch size where memory runs out."""
        saved = time.monotonic()
        with hooked(self.body, self.sites, self._visit, stop_after_last=True):
            while state.sequences < len(self.plan):
                batch = self.plan.batch(state.sequences, state.batching[-1][1])
                if not self._fits(batch):
                    smaller = (state.sequences, self._halved(batch, state.batching[-1][1]))
                    state = replace(state, batching=(*state.batching, smaller))
                    # What the memory taught is kept: a resumed run does not fail again first.
                    self.stage.settle(state)
                    continue
                self.meter.advance(batch)
                state = replace(
                    state,
                    sequences=state.sequences + batch.count,
                    rows=state.rows + len(batch.rows),
                )
                block_done = state.sequences in self.plan.block_ends[:-1]
                if block_done or time.monotonic() - saved >= checkpoint_seconds:
                    self.stage.mark(state)
                    saved = time.monotonic()
                    self.plan.alignment.release()
        self.stage.drain()
        return state

    def _fits(self, batch: Batch) -> bool:
        """Run one batch; false where memory runs out."""
        self.batch, self.gathers = batch, {}
        try:
            forward(self.body, self.handle.kind, batch.input_ids, batch.attention_mask)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return False
        return True

    def _halved(self, batch: Batch, budget: int) -> int:
        # Reached after the handler, which held on to the tensors of the failed pass.
        self.stage.drain()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if batch.count == 1:
            raise UserError(
                f"memory runs out on a single sequence of {batch.input_ids.shape[1]} tokens",
                fix=f"model.max_length={max(1, batch.input_ids.shape[1] // 2)}, "
                "model.dtype=bfloat16 or model.device_map=auto",
            )
        # Half of what the batch held: halving a budget far above it would fail again.
        smaller = batch.count * batch.input_ids.shape[1] // 2
        log.warning("out of memory at %d tokens a batch; going on with %d", budget, smaller)
        return smaller

    def _visit(self, site: Site, z: Tensor) -> None:
        assert self.batch is not None
        offset = token_offset(self.handle.kind, site.stream)
        gather = self.gathers.get((offset, z.device))
        if gather is None:
            gather = Gather(self.batch, offset=offset, device=z.device)
            self.gathers[offset, z.device] = gather
        writer, index = self.target[site]
        self.stage.put(writer, index, self.batch.rows, gather(z))
