"""What a pass puts into a residual stream, read at chosen positions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from probes.models.forward import forward, token_offset
from probes.models.hf_config import Kind
from probes.models.hooks import hooked
from probes.models.language_model import Positions, body_of
from probes.models.residual import ResidualStream
from probes.models.sites import Site


@dataclass(frozen=True)
class StreamStates:
    """All that was added to a residual stream at n positions, in the model's dtype."""

    begin: Tensor
    """(n, M) embeddings, and what comes before the first layer."""
    end: Tensor
    """(n, M) output of the last layer, before the final norm."""
    z: Mapping[Site, Tensor]
    """(n, H, D) by site of heads."""
    outputs: Mapping[Site, Tensor]
    """(n, M) by ``output`` of the branches."""
    whole: Mapping[int, Tensor]
    """(n, M) what the layers without attention add, by layer."""


class StreamReader:
    """Keeps what ``StreamStates`` needs of each batch; its ``sites`` and ``visit`` are a visitor's.

    ``begin`` before a pass, ``states`` after it.
    """

    def __init__(self, stream: ResidualStream, kind: Kind) -> None:
        self.stream, self.offset = stream, token_offset(kind, stream.stream)
        sites: dict[Site, None] = {stream.begin: None}
        for layer in stream.layers:
            for branch in layer.branches:
                sites |= {branch.heads: None} if branch.heads is not None else {}
                sites[branch.output] = None
            if not layer.branches:
                sites |= {layer.begin: None, layer.end: None}
        self.sites: list[Site] = list(sites | {stream.end: None})

    def begin(self, at: Positions) -> None:
        """A pass is about to run; ``at``: (n,) sequences and (n,) tokens of the batch."""
        sequence, token = (torch.from_numpy(axis) for axis in at)
        self.at = sequence, token + self.offset
        self.kept: dict[Site, Tensor] = {}

    def visit(self, site: Site, z: Tensor) -> None:
        """Keep the wanted positions of (B, T, units, width), a copy."""
        sequence, token = (axis.to(z.device) for axis in self.at)
        kept = z[sequence, token]  # (n, units, width)
        self.kept[site] = (kept if site.kind == "heads" else kept[:, 0]).to(self.stream.like.device)

    def states(self) -> StreamStates:
        """Of the pass that has run."""
        kept, layers = self.kept, self.stream.layers
        branches = [branch for layer in layers for branch in layer.branches]
        return StreamStates(
            begin=kept[self.stream.begin],
            end=kept[self.stream.end],
            z={b.heads: kept[b.heads] for b in branches if b.heads is not None},
            outputs={b.output: kept[b.output] for b in branches},
            whole={x.index: kept[x.end] - kept[x.begin] for x in layers if not x.branches},
        )


def read_stream(
    stream: ResidualStream,
    model: nn.Module,
    kind: Kind,
    input_ids: Tensor,
    attention_mask: Tensor,
    at: Positions,
) -> StreamStates:
    """The states of one plain pass, which ends after the last layer.

    input_ids, attention_mask: (B, T), as for ``forward``. at: n positions of the text.
    """
    body, reader = body_of(model), StreamReader(stream, kind)
    reader.begin(at)
    with hooked(body, reader.sites, reader.visit, stop_after_last=True):
        forward(body, kind, input_ids, attention_mask)
    return reader.states()
