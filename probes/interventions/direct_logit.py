"""Direct logit attribution: what each part of the residual stream adds to a logit difference.

The final norm is an affine map at the scale that it has at a position, so the logit difference
between answer and alternatives is a sum over everything that was added to the stream: heads, MLPs,
the embedding, and biases (Elhage et al. 2021, nostalgebraist 2020). Before soft-capping.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from probes.models.residual import ResidualStream
from probes.models.residual_reading import StreamStates
from probes.models.sites import Site


@dataclass(frozen=True)
class LogitParts:
    """Parts of logit(answer) - mean logit(alternatives) at n positions; positive helps."""

    heads: Mapping[Site, Tensor]
    """(n, H) by site of heads."""
    mlps: Mapping[int, Tensor]
    """(n,) by layer, their biases included."""
    whole: Mapping[int, Tensor]
    """(n,) of layers without attention, by layer."""
    embedding: Tensor
    """(n,) of what enters the first layer."""
    biases: Tensor
    """(n,) of output projections, norms and head, each once."""

    def total(self) -> Tensor:
        """(n,) the logit difference, before soft-capping.

        Of models in half precision it misses what they round off as they add to the stream.
        """
        heads = sum(part.sum(dim=1) for part in self.heads.values())
        return heads + sum(
            [*self.mlps.values(), *self.whole.values()], self.embedding + self.biases
        )


def direct_logit_parts(
    stream: ResidualStream, states: StreamStates, answers: Tensor, alternatives: Tensor
) -> LogitParts:
    """The parts of the logit difference at the positions of ``states``.

    Scales of norms are those of the unedited pass.

    answers: (n,) token ids. alternatives: (n, K) token ids, -1 where a row has fewer; a row
    without any is about the logit of its answer.

    Raises:
        UserError: for post-norm models, and for a model without a language-model head.
    """
    stream.require_additive()
    direction, bias = _answer_direction(stream, answers, alternatives)  # (n, M), (n,)
    end = states.end.to(stream.like)
    if stream.final is not None:
        bias = bias + direction @ stream.final.bias
        direction = stream.final.pull_back(direction, end)
    heads: dict[Site, Tensor] = {}
    mlps: dict[int, Tensor] = {}
    for layer in stream.layers:
        for branch in layer.branches:
            output = states.outputs[branch.output].to(stream.like)
            reads, of_norm = branch.pull_back(direction, output)  # (n, M), (n,)
            bias = bias + of_norm
            if branch.heads is None:
                mlps[layer.index] = (reads * output).sum(dim=-1)
                continue
            assert branch.weight is not None
            weight = branch.weight.to(stream.like)  # (H, D, M)
            by_width = (reads @ weight.flatten(0, 1).T).unflatten(1, weight.shape[:2])  # (n, H, D)
            z = states.z[branch.heads].to(stream.like)
            heads[branch.heads] = (z * by_width).sum(dim=-1)
            if branch.bias is not None:
                bias = bias + reads @ branch.bias
    return LogitParts(
        heads=heads,
        mlps=mlps,
        whole={i: (x.to(stream.like) * direction).sum(-1) for i, x in states.whole.items()},
        embedding=(states.begin.to(stream.like) * direction).sum(dim=-1),
        biases=bias,
    )


def _answer_direction(
    stream: ResidualStream, answers: Tensor, alternatives: Tensor
) -> tuple[Tensor, Tensor]:
    """Of the normed end of the stream the direction (n, M) that gives the difference, and its
    constant (n,)."""
    weight, bias = stream.unembedding()
    there = (alternatives >= 0).to(stream.like)  # (n, K)
    share = (there / there.sum(dim=1, keepdim=True).clamp(min=1.0))[..., None]  # (n, K, 1)
    before, after = stream.head_factors
    others = alternatives.clamp(min=0)
    rows = weight[answers].to(stream.like) - (weight[others].to(stream.like) * share).sum(dim=1)
    if bias is None:
        constant = torch.zeros_like(rows[:, 0])
    else:
        bias = bias.to(stream.like)
        constant = bias[answers] - (bias[others] * share[..., 0]).sum(dim=1)
    return before * after * rows, after * constant
