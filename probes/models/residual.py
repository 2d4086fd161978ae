"""The residual stream of a model: what each layer adds to it, and the way from its end to logits.

Between a head and the logits stand the output projection, in some models a norm after attention
and a multiplier, the sum of everything that the layers add, the final norm, and the head with its
scale and soft-capping. All of it is found by structure and measured on one tiny forward pass:

- a *branch* of a layer is an attention output projection, or the last matrix of the MLP. A norm
  whose input is what a branch puts out stands between it and the residual stream (Gemma, OLMo 2);
- in *additive* models ``x_out = x_in + sum of factor * norm(output)`` over the branches; the
  factors are fitted (Granite's multiplier, else 1);
- in *post-norm* models (BERT, GPT-1) ``x = norm(x + output)`` after each branch: parts do not add
  up to the end there, but the stream can be replayed.

A model that is neither is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from probes.core.errors import UserError
from probes.models.norms import Norm
from probes.models.sites import Site
from probes.models.structure import input_dtype, is_plain
from probes.models.verification import projection_weight


@dataclass(frozen=True)
class Branch:
    """One thing that a layer adds to the residual stream."""

    output: Site
    """Where its output is read: (..., M) before any norm and multiplier."""
    heads: Site | None
    """The site of its heads, of attention; None of an MLP."""
    weight: Tensor | None
    """Of attention: (H, D, M), a view of the output projection's."""
    bias: Tensor | None
    """(M,) of the projection; None without one, and of an MLP, whose output includes it."""
    norm: Norm | None
    """Between output and residual stream."""
    factor: float
    """What it is multiplied by after that."""
    after: Norm | None = None
    """In post-norm models: the norm of the sum of residual stream and output."""

    def added(self, output: Tensor) -> Tensor:
        """What is added to the residual stream for an output: (..., M) both."""
        added = output if self.norm is None else self.norm(output)
        return added if self.factor == 1.0 else self.factor * added

    def pull_back(self, direction: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """The direction in the branch's output that reads what ``direction`` reads in the stream.

        direction, output: (n, M). Returns it, (n, M), and what the norm's bias adds, (n,).
        """
        direction = self.factor * direction
        if self.norm is None:
            return direction, torch.zeros_like(direction[..., 0])
        return self.norm.pull_back(direction, output), direction @ self.norm.bias


@dataclass(frozen=True)
class StreamLayer:
    """A layer of the residual stream."""

    index: int
    begin: Site
    """What enters the layer."""
    end: Site
    """What leaves it."""
    branches: tuple[Branch, ...]
    """In the order of the pass. None of a layer without attention (a state-space mixer, a lone
    MLP): all that it adds is one part."""


@dataclass(frozen=True)
class ResidualStream:
    """A residual stream and its way to the logits, found by ``find_residual_stream``."""

    model: str
    """Name of the class, for messages."""
    stream: str
    """``decoder`` or ``encoder``."""
    like: Tensor
    """(M,) of the dtype and on the device of what is computed here: float32, or a model's float64.
    """
    layers: tuple[StreamLayer, ...]
    additive: bool
    """Whether branches add up to the end of the stream; else norms follow each sum."""
    final: Norm | None
    """The norm after the last layer."""
    head: nn.Module | None
    """The language-model head; None of a body alone."""
    head_factors: tuple[float, float]
    """What the head's input (T5) and its output (Granite, Cohere) are multiplied by."""
    cap: float | None
    """Logits are ``cap * tanh(logits / cap)`` of what is computed before."""

    @property
    def begin(self) -> Site:
        """Where the stream begins: embeddings, and what comes before the first layer."""
        return self.layers[0].begin

    @property
    def end(self) -> Site:
        """Where it ends: the output of the last layer, before the final norm."""
        return self.layers[-1].end

    def branch_of(self, site: Site) -> Branch:
        """The branch that a site of heads belongs to; ``KeyError`` where there is none."""
        for layer in self.layers:
            for branch in layer.branches:
                if branch.heads == site:
                    return branch
        raise KeyError(site)

    def require_additive(self) -> None:
        """Raise ``UserError`` unless parts of the stream sum to its end."""
        if not self.additive:
            raise UserError(
                f"{self.model} normalises the residual stream after each addition (post-norm), so "
                "what a head adds is no part of the logits",
                allowed="models whose layers add to the residual stream",
                fix="methods=[ablation]",
            )

    def logits(self, residual: Tensor, *, tokens: Tensor | None = None) -> Tensor:
        """Next-token logits for the end of the stream, as the model gives them.

        residual: (..., M). tokens: (..., K) ids of the vocabulary; None: all of it, which takes
        V numbers for each residual. Returns (..., K) or (..., V), in the dtype of ``like``.
        """
        hidden = residual.to(self.like)
        hidden = hidden if self.final is None else self.final(hidden)
        before, after = self.head_factors
        hidden = hidden if before == 1.0 else before * hidden
        weight, bias = self.unembedding()
        if tokens is None:
            # Rounded as the model rounds it: a float32 copy of a large vocabulary does not fit.
            values = torch.nn.functional.linear(hidden.to(weight.dtype), weight, bias)
        else:
            values = (weight[tokens].to(self.like) @ hidden[..., None]).squeeze(-1)
            values = values if bias is None else values + bias[tokens]
        values = after * values.to(self.like)
        return values if self.cap is None else self.cap * torch.tanh(values / self.cap)

    def unembedding(self) -> tuple[Tensor, Tensor | None]:
        """Weight (V, M) and bias (V,) of the head.

        Raises:
            UserError: without a head, and where its weight cannot be read.
        """
        if self.head is None:
            raise UserError(
                f"{self.model} has no language-model head, so it gives no logits",
                allowed="decoders and encoder-decoders, opened with their head",
            )
        weight = projection_weight(self.head)
        if weight is None:
            raise UserError(
                f"the weight of the language-model head ({type(self.head).__name__}) is quantised "
                "or offloaded, so its rows cannot be read",
                fix="a checkpoint without quantisation, or model.device_map=null",
            )
        bias: Any = self.head.bias
        return weight.T.to(self.like.device), None if bias is None else bias.to(self.like.device)


def head_weight(body: nn.Module, site: Site, like: Tensor) -> tuple[Tensor, Tensor | None]:
    """Weight (H, D, M) and bias (M,) of the output projection at a site of heads.

    Of a plain linear map it is a view. Others (adapters, quantised, offloaded) are applied to unit
    vectors: what they do to a vector is then in the weight, as far as they are linear.
    """
    module: Any = body.get_submodule(site.module)
    weight = projection_weight(module) if is_plain(module) else None
    bias: Tensor | None
    if weight is None:
        with torch.inference_mode():
            unit = torch.eye(site.units * site.width, dtype=like.dtype, device=like.device)
            unit = unit.to(input_dtype(module))
            zero: Tensor = module(torch.zeros_like(unit[:1]))
            weight, bias = module(unit) - zero, zero[0]
        weight, bias = weight.clone(), bias.clone()
    else:
        weight, bias = weight.detach(), module.bias
    by_head = weight.unflatten(0, (site.units, site.width))
    return by_head, None if bias is None else bias.detach().to(like)
