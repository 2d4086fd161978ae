"""Where a model's activations are read: one ``Site`` for each attention module or layer.

Heads are read at the *input* of the attention output projection, where the output of head h is
still a slice of its own; after it they are mixed. Sites are found by name and shape
(``probes.models.structure``) and proved on a tiny forward pass (``probes.models.verification``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from probes.config.group_checks import check_site
from probes.core.errors import UserError
from probes.models.structure import (
    ATTENTION,
    Projection,
    feed_forward,
    head_count,
    layers_of,
    projection_hints,
    projections_of,
)


@dataclass(frozen=True)
class Site:
    """A place in a model where one activation tensor passes in every forward pass."""

    stream: str
    """encoder, decoder or cross (a decoder's attention to its encoder)."""
    layer: int
    """Index of the layer in its stream, from 0."""
    kind: str
    """heads, residual, attention_output or mlp_output."""
    units: int
    """Heads of the layer; 1 for the whole-layer kinds."""
    width: int
    """d_head; d_model for the whole-layer kinds."""
    module: str
    """Dotted path of the hooked module in the body."""
    side: str
    """``input`` or ``output`` of that module."""


def find_sites(
    body: nn.Module,
    kind: str = "heads",
    *,
    layers: Sequence[int] | None = None,
    head_projection: str | None = None,
) -> list[Site]:
    """The sites of one kind, in the order in which a forward pass meets them.

    ``residual`` is the output of a whole layer, ``attention_output`` and ``mlp_output`` are what
    the last matrix of its attention and of its feed-forward part put out, before any norm or
    residual connection. Hybrid models have layers with other head counts, or none: then there is
    no site for them. Linear attention counts as attention, for its heads enter the same kind of
    projection; state-space mixers do not.

    layers: only these, in every stream that has them.
    head_projection: name of the attention output projection inside a layer, such as ``wo`` or
    ``attention.output.dense``; null finds it by itself.

    Raises:
        UserError: for an unknown kind or layer, for a model split by tensor parallelism, and where
            the projections are not found or not unique, with the candidates there are.

    >>> find_sites(body)[0]   # GPT-2                                       # doctest: +SKIP
    Site(stream='decoder', layer=0, kind='heads', units=12, width=64, module='h.0.attn.c_proj',
         side='input')
    """
    check_site(kind)
    _refuse_tensor_parallel(body)
    projections = projections_of(body, head_projection)
    _refuse_ambiguous(body, projections)
    if kind == "heads":
        sites = [_heads(projection, head_count(body, projection)) for projection in projections]
    elif kind == "attention_output":
        sites = [
            Site(p.stream, p.layer.index, kind, 1, p.outputs, p.path, "output") for p in projections
        ]
    else:
        sites = _whole_layers(body, kind, projections)
    return sites if layers is None else _only(sites, layers)


def _heads(projection: Projection, heads: int) -> Site:
    # Never hidden size / heads: many models have heads of another width.
    width = projection.inputs // heads
    layer = projection.layer.index
    return Site(projection.stream, layer, "heads", heads, width, projection.path, "input")


def _whole_layers(body: nn.Module, kind: str, projections: Sequence[Projection]) -> list[Site]:
    """All layers of the stacks that hold attention, those without attention too."""
    stacks = {projection.layer.stack for projection in projections}
    for stack in stacks:
        if ATTENTION.search(stack.rpartition(".")[2]):
            raise UserError(
                f"{type(body).__name__} keeps its attention modules in a list of their own "
                f"({stack}): no module puts out the {kind.replace('_', ' ')} of a layer",
                fix="site=heads",
            )
    sites = []
    for layer in layers_of(body):
        if layer.stack in stacks:
            path = layer.path if kind == "residual" else f"{layer.path}.{feed_forward(layer)}"
            sites.append(Site(layer.stream, layer.index, kind, 1, layer.hidden, path, "output"))
    return sites


def _refuse_ambiguous(body: nn.Module, projections: Sequence[Projection]) -> None:
    seen: dict[tuple[str, int], str] = {}
    for projection in projections:
        key = (projection.stream, projection.layer.index)
        other = seen.setdefault(key, projection.path)
        if other != projection.path:
            # Stacks that are alike have one name for all: no override tells them apart.
            alike = other.endswith(f".{projection.name}")
            raise UserError(
                f"{type(body).__name__}: both {other} and {projection.path} look like the "
                f"attention output projection of {key[0]} layer {key[1]}",
                **({} if alike else projection_hints(body)),
            )


def _refuse_tensor_parallel(body: nn.Module) -> None:
    shards = getattr(body, "_tp_size", None) or 1
    if shards > 1 or any(type(p).__name__ == "DTensor" for p in body.parameters()):
        raise UserError(
            f"{type(body).__name__} is split by tensor parallelism, where each process holds some "
            "of the heads",
            fix="model.device_map=auto",
        )


def _only(sites: list[Site], layers: Sequence[int]) -> list[Site]:
    there = sorted({site.layer for site in sites})
    unknown = sorted(set(layers) - set(there))
    if unknown or not layers:
        whole = there == list(range(there[-1] + 1))
        raise UserError(
            f"layers={list(layers)}: {unknown[0] if unknown else 'no layer'} is not a layer with "
            f"{sites[0].kind} of this model",
            allowed=f"0 to {there[-1]}" if whole else ", ".join(map(str, there)),
            fix=f"layers=[{there[-1]}]",
        )
    return [site for site in sites if site.layer in set(layers)]
