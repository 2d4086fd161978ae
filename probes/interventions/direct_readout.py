"""Scores of reads when an edit is carried to the end of the residual stream unchanged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from probes.interventions.direct_effect import direct_ends, joint_direct_end
from probes.interventions.readout import Readout
from probes.models.forward import token_offset
from probes.models.hf_config import Kind
from probes.models.hooks import hooked
from probes.models.residual import ResidualStream
from probes.models.residual_reading import StreamReader, StreamStates
from probes.models.sites import Site
from probes.passes.batches import Batch


class DirectReadout:
    """Reads the residual stream of a clean pass, and scores its end with heads edited."""

    def __init__(
        self, stream: ResidualStream, body: nn.Module, kind: Kind, readout: Readout
    ) -> None:
        self.stream, self.body, self.kind, self.readout = stream, body, kind, readout
        self.reader = StreamReader(stream, kind)
        self._known = {
            branch.heads for layer in stream.layers for branch in layer.branches if branch.heads
        }

    def covers(self, site: Site) -> bool:
        """Whether edits at a site are carried: at heads of this stream."""
        return site in self._known

    @contextmanager
    def reading(self, batch: Batch) -> Iterator[None]:
        """Read the stream in the pass inside the block."""
        self.reader.begin((batch.sequence, batch.last))
        with hooked(self.body, self.reader.sites, self.reader.visit):
            yield
        self.states: StreamStates = self.reader.states()

    def clean(self, batch: Batch) -> Tensor:
        """(1, n) scores of the clean end of the stream."""
        return self.readout.of_end(self.stream, self.states.end.to(self.stream.like), batch)[None]

    def edited(
        self, site: Site, values: Tensor, where: Tensor, heads: Sequence[int | None], batch: Batch
    ) -> Tensor:
        """(V, n) scores with each of these heads (None: all of the site) edited alone.

        values, where: as a ``Replacement`` gives them.
        """
        z = self.states.z[site]  # (n, H, D)
        sequence, token = torch.from_numpy(batch.sequence), torch.from_numpy(batch.last)
        token = token + token_offset(self.kind, site.stream)
        batched = sequence if values.shape[0] > 1 else torch.zeros_like(sequence)
        at = token if values.shape[1] > 1 else torch.zeros_like(token)
        put = values[batched.to(values.device), at.to(values.device)].to(z)  # (n or 1, H, D)
        here = where[sequence, token].to(z.device)[:, None, None]
        edited = torch.where(here, put, z)  # (n, H, D)
        alone = [head for head in heads if head is not None]
        ends = direct_ends(self.stream, self.states, site, edited) if alone else None
        scores = []
        for head in heads:
            if head is None:
                end = joint_direct_end(self.stream, self.states, {site: edited})
            else:
                assert ends is not None
                end = ends[head]
            scores.append(self.readout.of_end(self.stream, end, batch))
        return torch.stack(scores)
