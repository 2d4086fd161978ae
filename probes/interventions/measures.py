"""What a model does in a text, as one number, the larger the better it does.

Definitions as used by Wang et al. 2022 (arXiv 2211.00593) for the logit difference and by Warstadt
et al. 2020 (BLiMP) for pairs of sentences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from probes.interventions.scored_texts import IntArray, ScoredTexts

LogitScore = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(logits (n, vocabulary), targets (n,), alternatives (a,), read of each alternative (a,)) to a
score for each read (n,)."""


@dataclass(frozen=True)
class Measure:
    """One way to score behaviour."""

    name: str
    """As in ``measure`` and in the column ``metric``."""
    score: LogitScore | None
    """Of a read by its logits; None: by the probe of the last layer's residual stream."""
    every_token: bool = False
    """Whether all tokens of an answer are scored and summed; otherwise the first decides."""
    sentences: bool = False
    """Whether good sentences are compared with bad ones, each by the sum over its tokens."""
    texts: bool = False
    """Whether whole texts are scored, without answers."""
    alternatives: bool = False
    """Whether it needs alternatives of the answer."""
    differentiable: bool = True
    """Whether it has a gradient, so that heads can be attributed."""


def _target(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.gather(-1, targets[:, None])[:, 0]  # (n,)


def _logit_difference(logits: Tensor, targets: Tensor, others: Tensor, owner: Tensor) -> Tensor:
    total = logits.new_zeros(len(targets)).index_add(0, owner, logits[owner, others])
    count = torch.bincount(owner, minlength=len(targets))
    return _target(logits, targets) - total / count


def _log_probability(logits: Tensor, targets: Tensor, others: Tensor, owner: Tensor) -> Tensor:
    return _target(logits, targets) - logits.logsumexp(-1)


def _accuracy(logits: Tensor, targets: Tensor, others: Tensor, owner: Tensor) -> Tensor:
    return (logits.argmax(-1) == targets).to(logits.dtype)


def _choice_accuracy(logits: Tensor, targets: Tensor, others: Tensor, owner: Tensor) -> Tensor:
    best = torch.full_like(logits[:, 0], -torch.inf)
    best = best.scatter_reduce(0, owner, logits[owner, others], "amax")
    return (_target(logits, targets) > best).to(logits.dtype)  # a tie is no right answer


MEASURES = {
    measure.name: measure
    for measure in (
        Measure("logit_difference", _logit_difference, alternatives=True),
        Measure("log_probability", _log_probability, every_token=True),
        Measure("accuracy", _accuracy, differentiable=False),
        Measure("choice_accuracy", _choice_accuracy, alternatives=True, differentiable=False),
        Measure(
            "sentence_difference",
            _log_probability,
            every_token=True,
            sentences=True,
            alternatives=True,
        ),
        Measure("loss", _log_probability, every_token=True, texts=True),
        Measure("downstream", None),
    )
}


def read_scores(
    measure: Measure, texts: ScoredTexts, reads: IntArray, logits: Tensor, variants: int = 1
) -> Tensor:
    """The score of each read of a batch, (V, n).

    reads: (n,) which of the texts' reads. logits: (V * n, vocabulary) after their tokens.
    """
    assert measure.score is not None
    where = logits.device
    targets = torch.from_numpy(texts.targets[reads]).to(where)
    others, owner = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    if measure.alternatives and not measure.sentences:
        counts = (texts.bounds[1:] - texts.bounds[:-1])[reads]
        owner = np.repeat(np.arange(len(reads)), counts)
        inside = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        others = texts.others[np.repeat(texts.bounds[reads], counts) + inside]
    of, by = torch.from_numpy(others).to(where), torch.from_numpy(owner).to(where)
    # One variant at a time: a copy of all logits in float32 would be large.
    return torch.stack(
        [measure.score(part.float(), targets, of, by) for part in logits.chunk(variants)]
    )


def row_values(texts: ScoredTexts, parts: Tensor, measure: Measure) -> Tensor:
    """The measure of each row: sums over the reads of each part (..., P) to (..., N).

    A row with several answers has their mean; a text (``loss``) the mean over its tokens; sentences
    the log of the summed probabilities of the good ones minus that of the bad ones.
    """
    row = torch.from_numpy(texts.row).to(parts.device)
    count = len(texts)
    if measure.sentences:
        bad = torch.from_numpy(texts.bad).to(parts.device)
        good, worse = (_logsumexp(parts, row, keep, count) for keep in (~bad, bad))
        return good - worse
    if measure.texts:
        reads = np.bincount(texts.part, minlength=len(texts.row))
        parts = parts / torch.from_numpy(reads).to(parts.device)
    total = parts.new_zeros((*parts.shape[:-1], count)).index_add(-1, row, parts)
    return total / torch.bincount(row, minlength=count)


def _logsumexp(parts: Tensor, row: Tensor, keep: Tensor, count: int) -> Tensor:
    """Over the kept parts of each row: (..., P) to (..., N)."""
    masked = torch.where(keep, parts, -torch.inf)
    index = row.expand(masked.shape)
    start = parts.new_full((*parts.shape[:-1], count), -torch.inf)
    highest = start.scatter_reduce(-1, index, masked, "amax")  # (..., N)
    scaled = (masked - highest.gather(-1, index)).exp()
    return highest + torch.zeros_like(start).scatter_add(-1, index, scaled).log()


def part_sums(texts: ScoredTexts, reads: IntArray, scores: Tensor, into: Tensor) -> None:
    """Add the scores (V, n) of these reads to the sums of their parts (V, P), in place."""
    into.index_add_(-1, torch.from_numpy(texts.part[reads]).to(into.device), scores.to(into.dtype))
