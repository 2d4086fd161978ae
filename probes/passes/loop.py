"""The one loop that runs a model over a corpus, whatever is done at its sites.

``run_passes`` hooks a visitor's sites and runs one pass a batch; ``run_batches`` is the loop below
it, for work that takes several passes a batch. Both halve a batch that does not fit into memory,
resume from a ``Progress``, run a ``Shard`` of the plan and ask for checkpoints.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from probes.core.errors import UserError
from probes.core.shown_progress import ShownProgress
from probes.models.forward import forward
from probes.models.handle import Handle
from probes.models.hooks import differentiable, hooked
from probes.models.language_model import (
    Positions,
    body_of,
    has_output_head,
    logits,
    output_head,
)
from probes.passes.batches import Batch, BatchPlan
from probes.passes.progress import Progress
from probes.passes.shards import WHOLE, Shard
from probes.passes.visitor import Keeper, Output, Visitor

log = logging.getLogger(__name__)

Need = Literal["sites", "body", "logits"]
"""What of a pass is computed: up to the last site, the body, or the language-model head too."""

CHECKPOINT_SECONDS = 20.0
"""Between checkpoints: the work that a kill may cost."""


def run_passes(
    handle: Handle,
    model: nn.Module,
    plan: BatchPlan,
    visitor: Visitor,
    *,
    need: Need = "sites",
    gradients: bool = False,
    variants: int = 1,
    logits_at: Callable[[Batch], Positions] | None = None,
    progress: Progress | None = None,
    shard: Shard = WHOLE,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    label: str | None = None,
) -> Progress:
    """Run ``model`` over the batches of ``plan``, one pass each, with a visitor at its sites.

    Without edits and gradients the numbers are those of a plain pass, bit for bit.

    model: what ``handle.load()`` returns; for logits, ``handle.load(head=True)``. The visitor's
    sites are those of its ``body_of``.
    need: ``sites`` ends each pass after the last site, without an output; ``body`` gives the last
    hidden state, ``logits`` the logits.
    gradients: record the pass for differentiation. The parameters stay without gradients; every
    visited activation requires them. Takes the memory of all activations of a pass.
    variants: how often each batch stands in a pass, to be edited in as many ways side by side.
    logits_at: (sequence of the batch, token) of each of n wanted logits; None: of all tokens, which
    takes tokens x vocabulary numbers. ``row_ends`` is the usual choice.
    progress: of an earlier run of the same plan and shard; None starts at the shard's beginning.
    label: shown with the progress, as a bar on a terminal and a line now and then elsewhere; None:
    nothing is shown.

    Returns the progress at the end: the shard's last position, its rows, its batch sizes.

    Raises:
        UserError: where memory does not suffice for a single sequence, and for ``logits`` of a
            model that has no language-model head.
    """
    passes = _Passes(handle, model, visitor, need, gradients, variants, logits_at)
    visit = differentiable(visitor.visit) if gradients else visitor.visit
    with hooked(passes.body, visitor.sites, visit, stop_after_last=need == "sites"):
        return run_batches(
            plan,
            passes.run,
            visitor,
            progress=progress,
            shard=shard,
            checkpoint_seconds=checkpoint_seconds,
            label=label,
        )


def row_ends(batch: Batch) -> Positions:
    """The last token of each row, for ``logits_at``: (n,) sequences and (n,) tokens."""
    return batch.sequence, batch.last


def run_batches(
    plan: BatchPlan,
    run: Callable[[Batch], None],
    keeper: Keeper,
    *,
    progress: Progress | None = None,
    shard: Shard = WHOLE,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    label: str | None = None,
) -> Progress:
    """Call ``run`` for each batch of a shard of the plan; see ``run_passes`` for the arguments.

    Where ``run`` runs out of memory, it is called again with half of the batch, and the smaller
    batch size is kept from there on. The keeper is asked for a checkpoint after each block of the
    plan and every ``checkpoint_seconds``.

    Raises:
        UserError: where memory does not suffice for a single sequence.
    """
    end = plan.range_of(shard)[1]
    progress = progress or plan.start(shard)
    saved = time.monotonic()
    first, tokens = progress.sequences, 0
    with ShownProgress(label, plan.tokens_between(first, end)) as shown:
        while progress.sequences < end:
            budget = progress.batching[-1][1]
            batch = plan.batch(progress.sequences, budget, end)
            if not _fits(run, batch):
                smaller = _halved(keeper, batch, budget)
                batching = (*progress.batching, (progress.sequences, smaller))
                progress = replace(progress, batching=batching)
                # What the memory taught is kept: a resumed run does not fail again first.
                keeper.settle(progress)
                continue
            progress = replace(
                progress,
                sequences=progress.sequences + batch.count,
                rows=progress.rows + len(batch.rows),
            )
            tokens += batch.tokens
            rate = f"{tokens / shown.seconds:,.0f} tokens/s"
            done = f"{progress.sequences - first:,} of {end - first:,} sequences"
            shown.advance(batch.tokens, note=rate, line=f"{done}, {rate}")
            block_done = progress.sequences in plan.block_ends[:-1]
            if block_done or time.monotonic() - saved >= checkpoint_seconds:
                keeper.mark(progress)
                saved = time.monotonic()
                plan.alignment.release()
    keeper.drain()
    return progress


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on whichever device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text
    )


def _fits(run: Callable[[Batch], None], batch: Batch) -> bool:
    """Run one batch; false where memory runs out."""
    try:
        run(batch)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def _halved(keeper: Keeper, batch: Batch, budget: int) -> int:
    """The next smaller number of tokens a batch."""
    # Reached after the handler, which held on to the tensors of the failed pass.
    keeper.drain()
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


class _Passes:
    """Forward passes of one model, and what its hooks do in them."""

    def __init__(
        self,
        handle: Handle,
        model: nn.Module,
        visitor: Visitor,
        need: Need,
        gradients: bool,
        variants: int,
        logits_at: Callable[[Batch], Positions] | None,
    ) -> None:
        self.kind, self.model, self.body = handle.kind, model, body_of(model)
        self.visitor, self.need, self.gradients = visitor, need, gradients
        self.variants, self.logits_at = variants, logits_at
        if need == "logits":
            output_head(model)  # raises where there is none
        elif need == "body" and has_output_head(self.body):
            raise ValueError(
                f"{type(model).__name__} keeps its stacks beside its head: its last hidden state "
                "is given by the model that is loaded without the head"
            )

    def run(self, batch: Batch) -> None:
        self.visitor.begin(batch)
        self.visitor.end(batch, self._pass(batch))

    def _pass(self, batch: Batch) -> Output:
        ids, mask = batch.input_ids, batch.attention_mask  # (B, T) each
        if self.variants > 1:
            ids, mask = ids.repeat(self.variants, 1), mask.repeat(self.variants, 1)  # (V * B, T)
        if self.need == "logits":
            at = self._positions(batch)
            return Output(
                logits=logits(self.model, self.kind, ids, mask, at=at, gradients=self.gradients)
            )
        output: Any = forward(self.body, self.kind, ids, mask, gradients=self.gradients)
        return Output(hidden=None if self.need == "sites" else output.last_hidden_state)

    def _positions(self, batch: Batch) -> Positions | None:
        """The wanted positions, once for each variant: (V * n,) sequences and tokens."""
        if self.logits_at is None:
            return None
        sequence, token = self.logits_at(batch)
        shifts = np.repeat(np.arange(self.variants) * batch.count, len(sequence))
        return np.tile(sequence, self.variants) + shifts, np.tile(token, self.variants)
