"""The peers of the benchmark of effects, nnsight and TransformerLens, each used at its best.

Both get the same batches, edit as many heads side by side in one pass as ours do (the batch is
repeated, each copy with another head edited), and need the logits at the scored tokens only. A
layer of a model is never restarted: every pass is a whole one. nnsight wraps the body, so that the
vocabulary is computed where it is needed; TransformerLens' bridge computes it at all tokens.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from probes.interventions.editor import Editor
from probes.interventions.measures import part_sums, read_scores
from probes.interventions.readout import Readout, repeated
from probes.models.language_model import body_of
from probes.models.sites import Site
from probes.passes.batches import Batch, BatchPlan
from probes.passes.loop import run_batches
from probes.passes.visitor import Keeper

Logits = Callable[[Site, Sequence[int], Batch], Tensor]
"""Site, heads that are edited side by side, batch -> (V * n, vocabulary) logits after the reads."""


@dataclass(frozen=True)
class Job:
    """What every contestant is given."""

    editor: Editor
    readout: Readout
    means: dict[Site, Tensor]
    """(H, D) what takes the place of each head's output, at all tokens but the first."""
    tokens_at_once: int
    """Up to which heads are edited side by side; a batch of more has one in each pass."""

    def edited(self, site: Site, heads: Sequence[int], z: Tensor) -> Tensor:
        """(V * B, T, H, D) or (V * B, T, H * D) with another head edited in each copy."""
        copies = z.reshape(len(heads), -1, z.shape[1], site.units, site.width).clone()
        for variant, head in enumerate(heads):
            copies[variant, :, 1:, head] = self.means[site][head].to(z)
        return copies.reshape(z.shape)

    def run(self, plan: BatchPlan, site: Site, logits: Logits) -> Tensor:
        """(H, P) sums over the reads of each part with each head of a site edited."""
        texts = self.readout.texts
        sums = torch.zeros(site.units, len(texts.row), dtype=torch.float64)

        def run(batch: Batch) -> None:
            size = max(1, self.tokens_at_once // batch.input_ids.numel())
            for first in range(0, site.units, size):
                heads = range(first, min(first + size, site.units))
                values = logits(site, heads, batch)
                scores = read_scores(self.readout.measure, texts, batch.rows, values, len(heads))
                part_sums(texts, batch.rows, scores, sums[first : first + len(heads)])

        with torch.inference_mode():
            run_batches(plan, run, Keeper())
        return sums


def nnsight(job: Job) -> Logits:
    """NNsight around the body: all heads of a pass in one trace."""
    import nnsight as library

    whole: Any = copy.deepcopy(job.editor.model)
    body = body_of(whole)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # modules called "output" get another name
        model = library.NNsight(body)
    envoys = {id(envoy._module): envoy for envoy in model.modules()}

    def logits(site: Site, heads: Sequence[int], batch: Batch) -> Tensor:
        projection = envoys[id(body.get_submodule(site.module))]
        inputs = _inputs(batch, len(heads))
        edit = job.edited
        with model.trace(**inputs, use_cache=False):
            projection.input = edit(site, heads, projection.input)
            end = library.save(model.output.last_hidden_state)
        return _head(whole, end, batch, len(heads))

    return logits


def transformer_lens(job: Job) -> Logits:
    """TransformerLens' bridge, with a hook at ``hook_z``."""
    from transformer_lens.model_bridge import TransformerBridge

    whole: Any = copy.deepcopy(job.editor.model)
    model = TransformerBridge.boot_transformers(
        body_of(whole).name_or_path, hf_model=whole, tokenizer=job.editor.handle.tokenizer,
        device="cpu",
    )  # fmt: skip

    def logits(site: Site, heads: Sequence[int], batch: Batch) -> Tensor:
        inputs = _inputs(batch, len(heads))
        values = model.run_with_hooks(
            inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            fwd_hooks=[
                (f"blocks.{site.layer}.attn.hook_z", lambda z, hook: job.edited(site, heads, z))
            ],
        )
        at = repeated(batch, len(heads))
        found: Tensor = values[at]
        return found

    return logits


def _inputs(batch: Batch, copies: int) -> dict[str, Tensor]:
    return {
        "input_ids": batch.input_ids.repeat(copies, 1),
        "attention_mask": batch.attention_mask.repeat(copies, 1),
    }


def _head(model: nn.Module, end: Tensor, batch: Batch, copies: int) -> Tensor:
    """Logits at the reads from the last hidden state (V * B, T, M)."""
    sequence, token = repeated(batch, copies)
    head: Any = model.get_output_embeddings()  # type: ignore[operator]
    found: Tensor = head(end[sequence, token])
    return found


LIBRARIES: dict[str, Callable[[Job], Logits]] = {
    "nnsight": nnsight,
    "transformer_lens": transformer_lens,
}
"""Name of the module -> what prepares it; each gets a copy of the model."""
