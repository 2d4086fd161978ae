"""Attribution of a behaviour: what ablating or patching each head would change, to first order."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from probes.core.errors import UserError
from probes.interventions.ablation import training_means
from probes.interventions.attribution import Attribution, OtherValues
from probes.interventions.behaviour import Behaviour
from probes.interventions.editor import DownstreamProbe, Editor, sequences_of
from probes.interventions.exact import Head
from probes.interventions.measures import Measure, part_sums, row_values
from probes.interventions.patching import Pairs
from probes.interventions.readout import Readout
from probes.interventions.replacements import FromOtherTexts, Places
from probes.interventions.scored_texts import ScoredTexts
from probes.models.differentiation import recorded_bytes, require_gradients
from probes.passes.batches import Batch, BatchPlan
from probes.passes.loop import run_batches
from probes.passes.visitor import Keeper
from probes.statistics.groups import Array


@dataclass(frozen=True)
class Estimates:
    """Estimated effects of every head on every row of a behaviour, oriented as exact ones are."""

    heads: tuple[Head, ...]
    total: Array
    """(H, N); NaN where a row was not scored. Rows that share a sequence (labelled words) have
    equal parts of what is estimated for all of them."""


def estimate_ablation(
    editor: Editor, behaviour: Behaviour, places: Places, probe: DownstreamProbe | None = None
) -> Estimates:
    """The estimate of mean ablation: what the training mean in a head's place would change.

    Raises:
        UserError: a measure without gradients, and layers that gradients do not pass.
    """
    _require_gradients(editor, behaviour)
    total = np.full((len(editor.heads), len(behaviour.texts)), np.nan)
    for part in behaviour.parts:
        train, scored = behaviour.texts.take(part.train), behaviour.texts.take(part.scored)
        means = training_means(editor, train, places)
        readout = editor.readout(scored, behaviour.measure, probe, fold=part.fold)
        plan = _plan(editor, scored)
        rows = _by_row(editor, behaviour, readout, plan, means)
        total[:, part.scored] = -rows  # clean minus ablated
    return Estimates(tuple(editor.heads), total)


def estimate_patching(
    editor: Editor, behaviour: Behaviour, pairs: Pairs, direction: str, places: Places, steps: int
) -> Estimates:
    """The estimate of patching in one direction.

    steps: points between the embeddings of both runs at which gradients are averaged; 0 or 1: the
    gradient of the run that is edited.

    Raises:
        UserError: a measure without gradients, and layers that gradients do not pass.
    """
    _require_gradients(editor, behaviour)
    denoise = direction == "denoise"
    base, donor = (pairs.corrupted, pairs.clean) if denoise else (pairs.clean, pairs.corrupted)
    plan = _plan(editor, base)
    other = FromOtherTexts(
        editor.body, editor.handle.kind, editor.sites, replace(places, first_token=True),
        sequences_of(donor), np.arange(len(base.alignment.example)), plan.order,
    )  # fmt: skip
    readout = editor.readout(base, behaviour.measure)
    rows = _by_row(
        editor, behaviour, readout, plan, other, donor=donor if steps > 1 else None, steps=steps
    )
    total = np.full((len(editor.heads), len(behaviour.texts)), np.nan)
    total[:, pairs.kept] = rows if denoise else -rows
    return Estimates(tuple(editor.heads), total)


def require_differentiable(measure: Measure) -> None:
    """Raise ``UserError`` for a measure without a gradient."""
    if not measure.differentiable:
        raise UserError(
            f"methods=[attribution] measure={measure.name}: right or wrong has no gradient",
            allowed="logit_difference, log_probability, sentence_difference, loss, downstream",
            fix="measure=logit_difference",
        )


def _require_gradients(editor: Editor, behaviour: Behaviour) -> None:
    require_differentiable(behaviour.measure)
    require_gradients(editor.body)


def _plan(editor: Editor, texts: ScoredTexts) -> BatchPlan:
    """Batches whose recorded passes fit into the memory budget."""
    a_token = recorded_bytes(editor.body, editor.handle.kind, editor.sites)
    affordable = max(1, editor.memory_budget // max(1, a_token))
    return BatchPlan(texts.alignment, min(affordable, editor.affordable(editor.tokens_per_batch)))


def _by_row(
    editor: Editor,
    behaviour: Behaviour,
    readout: Readout,
    plan: BatchPlan,
    other: OtherValues,
    *,
    donor: ScoredTexts | None = None,
    steps: int = 0,
) -> Array:
    """m(edited) - m(base), estimated, of each row of the readout's texts: (H, n)."""
    texts = readout.texts
    share = _weights(readout, behaviour, plan)  # (R,)

    def scores(batch: Batch) -> Tensor:
        said = readout(batch, gradients=True)[0]
        return said * torch.from_numpy(share[batch.rows]).to(said)

    def other_ids(batch: Batch) -> Tensor:
        assert donor is not None
        ids = torch.zeros_like(batch.input_ids)
        chosen = plan.order[batch.position : batch.position + batch.count]
        for row, sequence in enumerate(chosen):
            begin, end = donor.alignment.offsets[sequence : sequence + 2]
            tokens = np.asarray(donor.alignment.ids[begin:end], dtype=np.int64)
            ids[row, : len(tokens)] = torch.from_numpy(tokens)
        return ids

    attribution = Attribution(
        editor.body,
        editor.sites,
        scores,
        other_ids=None if donor is None else other_ids,
        steps=max(1, steps),
    )
    of_site = attribution.run(plan, other, label=editor.label("attribution"))
    by_sequence = torch.cat([of_site[site].T for site in editor.sites])  # (H, S)
    return _rows_of_sequences(texts, by_sequence.numpy())


def _weights(readout: Readout, behaviour: Behaviour, plan: BatchPlan) -> Array:
    """(R,) derivative of the sum of all rows' measures with respect to each read's score."""
    texts = readout.texts
    parts = torch.zeros(1, len(texts.row), dtype=torch.float64)
    if behaviour.measure.sentences:  # else it is the same for all scores
        run_batches(
            plan, lambda batch: part_sums(texts, batch.rows, readout(batch), parts), Keeper()
        )
    parts.requires_grad_()
    row_values(texts, parts, behaviour.measure).sum().backward()
    assert parts.grad is not None
    of_part: Array = parts.grad[0].numpy()
    return of_part[texts.part]


def _rows_of_sequences(texts: ScoredTexts, values: Array) -> Array:
    """(H, S) to (H, n): a row's sequences are added, the rows of a sequence share its value."""
    alignment = texts.alignment
    pairs = np.unique(
        np.stack([np.asarray(alignment.sequence, dtype=np.int64), texts.row[texts.part]]), axis=1
    )
    sequence, row = pairs
    rows_of = np.bincount(sequence, minlength=values.shape[1])
    total = np.zeros((len(texts), len(values)))
    np.add.at(total, row, (values[:, sequence] / rows_of[sequence]).T)
    return total.T
