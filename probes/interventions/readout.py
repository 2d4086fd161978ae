"""What is read off at the end of a pass: scores of its reads, from logits or from a probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from probes.interventions.measures import Measure, read_scores
from probes.interventions.scored_texts import ScoredTexts
from probes.models.forward import forward, token_offset
from probes.models.hf_config import Kind
from probes.models.hooks import hooked
from probes.models.language_model import logits
from probes.models.residual import ResidualStream
from probes.models.sites import Site
from probes.passes.batches import Batch, Gather
from probes.training.bank import ProbeBank


class Readout(Protocol):
    """Runs a pass and scores its reads."""

    @property
    def texts(self) -> ScoredTexts:
        """What is read."""
        ...

    @property
    def measure(self) -> Measure:
        """How it is scored."""
        ...

    def __call__(self, batch: Batch, *, variants: int = 1, gradients: bool = False) -> Tensor:
        """(V, n) score of each read of the batch, repeated ``variants`` times side by side.

        gradients: record the pass, so that scores can be differentiated.
        """
        ...

    def of_end(self, stream: ResidualStream, end: Tensor, batch: Batch) -> Tensor:
        """(n,) scores for the end of the residual stream (n, d_model) at the reads."""
        ...

    def bytes_of_variant(self, batch: Batch) -> int:
        """What the output of one variant takes in memory."""
        ...


@dataclass(frozen=True)
class LogitReadout:
    """Scores by the logits after each read."""

    model: nn.Module
    """With its language-model head."""
    kind: Kind
    texts: ScoredTexts
    measure: Measure
    vocabulary: int

    def __call__(self, batch: Batch, *, variants: int = 1, gradients: bool = False) -> Tensor:
        """(V, n) scores by the logits after the reads."""
        sequence, token = repeated(batch, variants)
        values = logits(
            self.model,
            self.kind,
            batch.input_ids.repeat(variants, 1),
            batch.attention_mask.repeat(variants, 1),
            at=(sequence, token),
            gradients=gradients,
        )
        return read_scores(self.measure, self.texts, batch.rows, values, variants).cpu()

    def of_end(self, stream: ResidualStream, end: Tensor, batch: Batch) -> Tensor:
        """(n,) scores by the logits of that end."""
        return read_scores(self.measure, self.texts, batch.rows, stream.logits(end))[0].cpu()

    def bytes_of_variant(self, batch: Batch) -> int:
        """Of logits in float32, and once more while they are scored."""
        return len(batch.rows) * self.vocabulary * 4 * 2


@dataclass(frozen=True)
class ProbeReadout:
    """Scores by the log-probability that a frozen probe gives to each read's class.

    With folds the probe of the fold that holds a row out scores it.
    """

    body: nn.Module
    kind: Kind
    texts: ScoredTexts
    measure: Measure
    site: Site
    """Where the probe reads: the last layer's residual stream."""
    banks: tuple[ProbeBank, ...]
    """One, or one for each fold."""
    fold: np.ndarray
    """(R,) which of the banks scores each read."""
    log_odds: bool = False
    """Score by the log-odds of each read's class against all others instead."""

    def __call__(self, batch: Batch, *, variants: int = 1, gradients: bool = False) -> Tensor:
        """(V, n) log-probabilities (or log-odds) of the reads' classes."""
        read: list[Tensor] = []

        def keep(site: Site, z: Tensor) -> None:
            read.append(z)

        with hooked(self.body, [self.site], keep, stop_after_last=True):
            forward(
                self.body,
                self.kind,
                batch.input_ids.repeat(variants, 1),
                batch.attention_mask.repeat(variants, 1),
                gradients=gradients,
            )
        hidden = read[0].unflatten(0, (variants, -1))  # (V, B, T, 1, d_model)
        gather = Gather(
            batch, offset=token_offset(self.kind, self.site.stream), device=hidden.device
        )
        return self._scores(torch.stack([gather(z)[:, 0] for z in hidden]), batch)

    def of_end(self, stream: ResidualStream, end: Tensor, batch: Batch) -> Tensor:
        """(n,) log-probabilities by that end, which is what the probe reads."""
        return self._scores(end[None], batch)[0]

    def _scores(self, rows: Tensor, batch: Batch) -> Tensor:
        """(V, n) of the hidden states (V, n, d_model) at the reads."""
        rows = rows.float()
        targets = torch.from_numpy(self.texts.targets[batch.rows]).to(rows.device)
        fold = torch.from_numpy(self.fold[batch.rows]).to(rows.device)
        scores = torch.empty(rows.shape[:2], device=rows.device)
        for number, bank in enumerate(self.banks):
            mine = fold == number
            said = bank.to(rows.device).logits(rows[:, mine].flatten(0, 1)[None])[0]  # (V * n, C)
            log_p = said.float().log_softmax(-1).unflatten(0, (len(rows), -1))
            wanted = targets[mine].expand(len(rows), -1)[..., None]
            of_class = log_p.gather(-1, wanted)[..., 0]
            if self.log_odds:
                # Not log(1 - p), which is rounded away where the probe is sure.
                of_class -= log_p.scatter(-1, wanted, -torch.inf).logsumexp(-1)
            scores[:, mine] = of_class
        return scores.cpu()

    def bytes_of_variant(self, batch: Batch) -> int:
        """Of hidden states in float32, and once more while they are scored."""
        return len(batch.rows) * self.site.width * 4 * 2


def repeated(batch: Batch, variants: int) -> tuple[np.ndarray, np.ndarray]:
    """Sequence and last token of each row, once for each variant: (V * n,) each."""
    shifts = np.repeat(np.arange(variants) * batch.count, len(batch.rows))
    return np.tile(batch.sequence, variants) + shifts, np.tile(batch.last, variants)
