"""Direct effects: what an edit of heads changes in the residual stream is carried to its end.

Later layers do not react. In models that add to the stream the change is added to the clean end of
it; where norms follow each addition (BERT), the stream is replayed with what attention and MLPs
put out in the clean pass. An edit changes the end only at the positions where it is made.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from probes.models.residual import ResidualStream
from probes.models.residual_reading import StreamStates
from probes.models.sites import Site


def direct_effect(
    stream: ResidualStream,
    states: StreamStates,
    site: Site,
    edited: Tensor,
    *,
    tokens: Tensor | None = None,
) -> Tensor:
    """Logits when each head of a layer is edited alone and nothing after it reacts.

    The clean logits to compare with are ``stream.logits(states.end, tokens=tokens)``: a head whose
    output is not changed has these very bits.

    edited: (n, H, D) what replaces ``states.z[site]``, head by head.
    tokens: (n, K) ids of the vocabulary; None: all of it, which takes H * n * V numbers.

    Returns (H, n, K) or (H, n, V).

    Raises:
        UserError: for a model without a language-model head.
    """
    ends = direct_ends(stream, states, site, edited)  # (H, n, M)
    wanted = None if tokens is None else tokens.expand(len(ends), *tokens.shape)
    # Products of one batch shape for all heads: rounding is the same whatever is edited.
    return torch.stack(
        [
            stream.logits(end, tokens=None if wanted is None else wanted[head])
            for head, end in enumerate(ends)
        ]
    )


def direct_ends(stream: ResidualStream, states: StreamStates, site: Site, edited: Tensor) -> Tensor:
    """The end of the stream, (H, n, M), when each head of ``site`` is edited alone.

    edited: as for ``direct_effect``. This is what a probe of the last layer's residual stream
    reads.
    """
    by_head = _changes(stream, states, site, edited)  # (H, n, M)
    return _end(stream, states, {stream.branch_of(site).output: by_head})


def joint_direct_end(
    stream: ResidualStream, states: StreamStates, edits: Mapping[Site, Tensor]
) -> Tensor:
    """The end of the stream, (n, M), when all given heads are edited together.

    edits: (n, H, D) by site; heads that are not in the set have their clean output there.
    """
    changes = {
        stream.branch_of(site).output: _changes(stream, states, site, edited).sum(dim=0)
        for site, edited in edits.items()
    }
    return _end(stream, states, changes)


def _changes(stream: ResidualStream, states: StreamStates, site: Site, edited: Tensor) -> Tensor:
    """What each head's edit changes in the output of the projection: (H, n, M)."""
    weight = stream.branch_of(site).weight
    assert weight is not None
    change = edited.to(stream.like) - states.z[site].to(stream.like)  # (n, H, D)
    return change.transpose(0, 1) @ weight.to(stream.like)


def _end(stream: ResidualStream, states: StreamStates, changes: Mapping[Site, Tensor]) -> Tensor:
    """changes: (..., n, M) by ``output`` of a branch. Returns (..., n, M)."""
    end = states.end.to(stream.like)
    outputs = {site: states.outputs[site].to(stream.like) for site in states.outputs}
    if not changes:
        return end
    if not stream.additive:
        clean = {site: torch.zeros_like(change) for site, change in changes.items()}
        # The difference of two replays: without a change the clean end, bit for bit.
        return end + (_replay(stream, states, changes) - _replay(stream, states, clean))
    total = end
    for layer in stream.layers:
        for branch in layer.branches:
            change = changes.get(branch.output)
            if change is None:
                continue
            if branch.norm is None:
                total = total + branch.factor * change
                continue
            output = outputs[branch.output].expand_as(change)
            total = total + (branch.added(output + change) - branch.added(output))
    return total


def _replay(stream: ResidualStream, states: StreamStates, changes: Mapping[Site, Tensor]) -> Tensor:
    """A post-norm stream from its beginning, with outputs as they were but for the changes."""
    x = states.begin.to(stream.like)
    for layer in stream.layers:
        for branch in layer.branches:
            output = states.outputs[branch.output].to(stream.like)
            change = changes.get(branch.output)
            assert branch.after is not None
            x = branch.after(x + branch.added(output if change is None else output + change))
    return x
