"""Direct logit attribution of a behaviour: what every head writes towards the answer, by row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from probes.core.errors import UserError
from probes.interventions.behaviour import Behaviour
from probes.interventions.direct_logit import direct_logit_parts
from probes.interventions.editor import Editor
from probes.interventions.exact import Head
from probes.interventions.measures import MEASURES, Measure, row_values
from probes.interventions.scored_texts import ScoredTexts
from probes.models.residual_reading import read_stream
from probes.passes.batches import Batch, BatchPlan
from probes.passes.loop import run_batches
from probes.passes.visitor import Keeper
from probes.statistics.groups import Array

MEASURE = MEASURES["logit_difference"]


@dataclass(frozen=True)
class RowParts:
    """Parts of the logit difference of every row."""

    heads: tuple[Head, ...]
    of_heads: Array
    """(H, N); NaN where a row was not scored."""
    mlps: tuple[Head, ...]
    of_mlps: Array
    """(L, N)"""
    total: Array
    """(N,) all parts together: the logit difference before soft-capping."""


def logit_parts(editor: Editor, behaviour: Behaviour) -> RowParts:
    """What each head, and each MLP, adds to the logit difference through the final norm.

    Raises:
        UserError: another measure than the logit difference, and a model whose parts do not add up
            (post-norm).
    """
    require_logit_difference(behaviour.measure)
    stream = editor.stream
    if stream is None:
        raise UserError(
            "methods=[direct_logit]: " + "; ".join(editor.notes), fix="methods=[ablation]"
        )
    stream.require_additive()
    scored = np.any([part.scored for part in behaviour.parts], axis=0)
    texts = behaviour.texts.take(scored)
    layers = [layer.index for layer in stream.layers]
    sites = editor.sites
    sums = {site: torch.zeros(site.units, len(texts.row), dtype=torch.float64) for site in sites}
    mlps = torch.zeros(len(layers), len(texts.row), dtype=torch.float64)
    total = torch.zeros(1, len(texts.row), dtype=torch.float64)

    def run(batch: Batch) -> None:
        at = batch.sequence, batch.last
        states = read_stream(
            stream, editor.model, editor.handle.kind, batch.input_ids, batch.attention_mask, at
        )
        answers, others = _answers(texts, batch.rows)
        parts = direct_logit_parts(
            stream, states, answers.to(stream.like.device), others.to(stream.like.device)
        )
        part = torch.from_numpy(texts.part[batch.rows])
        for site in sites:
            if site in parts.heads:
                sums[site].index_add_(1, part, parts.heads[site].T.double().cpu())
        for number, layer in enumerate(layers):
            if layer in parts.mlps:
                mlps[number].index_add_(0, part, parts.mlps[layer].double().cpu())
        total[0].index_add_(0, part, parts.total().double().cpu())

    run_batches(
        BatchPlan(texts.alignment, editor.affordable(editor.tokens_per_batch)),
        run,
        Keeper(),
        label=editor.label("direct logit attribution"),
    )

    def rows(values: Tensor) -> Array:
        everywhere = np.full((len(values), len(scored)), np.nan)
        everywhere[:, scored] = row_values(texts, values, MEASURE).numpy()
        return everywhere

    of_heads = torch.cat([sums[site] for site in sites])
    mlp_sites = {(s.stream, s.layer): s for s in editor.layers.get("mlp_output", [])}
    shown = [n for n, layer in enumerate(layers) if (stream.stream, layer) in mlp_sites]
    return RowParts(
        tuple(editor.heads),
        rows(of_heads),
        tuple((mlp_sites[stream.stream, layers[n]], 0) for n in shown),
        rows(mlps[shown]),
        rows(total)[0],
    )


def require_logit_difference(measure: Measure) -> None:
    """Raise ``UserError`` for any other measure."""
    if measure is not MEASURE:
        raise UserError(
            f"methods=[direct_logit] measure={measure.name}: parts add up to a difference of "
            "logits",
            allowed="logit_difference",
            fix="measure=logit_difference, on a corpus whose answers have alternatives",
        )


def _answers(texts: ScoredTexts, reads: np.ndarray) -> tuple[Tensor, Tensor]:
    """(n,) answers and (n, K) alternatives of these reads, -1 where there are fewer."""
    counts = (texts.bounds[1:] - texts.bounds[:-1])[reads]
    others = np.full((len(reads), int(counts.max(initial=1))), -1, dtype=np.int64)
    for number, read in enumerate(reads):
        others[number, : counts[number]] = texts.others[texts.bounds[read] : texts.bounds[read + 1]]
    return torch.from_numpy(texts.targets[reads]), torch.from_numpy(others)
