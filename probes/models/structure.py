"""What a model is made of, read from its modules: layers, projections, heads, feed-forward parts.

Names are looked up in tables kept as data and confirmed by shape. Nothing here runs the model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from probes.core.errors import UserError
from probes.models.hf_config import field_of, model_kind, text_config

# Attribute names of attention output projections across model families.
PROJECTIONS = {
    *("o_proj", "out_proj", "c_proj", "dense", "Wo", "wo", "o", "out_lin"),
    *("proj", "out", "output", "attn_out", "linear_out", "attention_out"),
}
# Attribute names of the feed-forward part, and of its last matrix.
FEED_FORWARDS = {"mlp", "ffn", "feed_forward", "block_sparse_moe", "DenseReluDense", "moe"}
DOWN_PROJECTIONS = {
    *("down_proj", "c_proj", "dense_4h_to_h", "fc2", "fc_out"),
    *("lin2", "wo", "Wo", "w2", "output.dense"),
}
# Query heads, first of the attention module itself, for they may differ between layers.
# Linear attention can have more value heads than key heads: one output for each value head.
HEAD_COUNTS = (
    "num_v_heads",
    "num_attention_heads",
    "num_heads",
    "n_heads",
    "n_head",
    "num_query_heads",
    "encoder_attention_heads",
)
HIDDEN_SIZES = ("hidden_size", "d_model", "n_embd", "dim")
# In names of modules and of their classes: Nemotron-H calls each kind of mixer ``mixer``.
ATTENTION = re.compile(r"attn|attention|mha$|multi_?head", re.IGNORECASE)
FEED_FORWARD = re.compile(r"^(ff|ffn|mlp|feed_?forward|moe|experts?|intermediate)", re.IGNORECASE)
# Classes of mixers that keep a state: they have no heads.
STATE = re.compile(r"mamba|ssm|recurrent|lstm|rwkv|conv|mixer|fourier", re.IGNORECASE)
# What makes queries, keys and values: never what the heads' outputs enter.
INPUTS = re.compile(r"^([qkv]{1,3}|w[qkv]+|query|key|value)(_.*)?$", re.IGNORECASE)
# Stacks that read no text.
TOWERS = re.compile(r"vision|visual|image|img|audio|speech", re.IGNORECASE)
CROSS = re.compile(r"encoder_?attn|encdec|cross", re.IGNORECASE)


@dataclass(frozen=True)
class Layer:
    """One item of a stack of layers, before it is known what it holds."""

    block: nn.Module
    stack: str
    """Dotted path of the module list in the body."""
    index: int
    stream: str
    hidden: int

    @property
    def path(self) -> str:
        """Dotted path of the layer in the body."""
        return f"{self.stack}.{self.index}"


@dataclass(frozen=True)
class Projection:
    """A linear map of a layer that maps what its attention heads put out onto the hidden size."""

    layer: Layer
    name: str
    """Dotted path in the layer."""
    inputs: int
    outputs: int

    @property
    def path(self) -> str:
        """Dotted path of the projection in the body."""
        return f"{self.layer.path}.{self.name}"

    @property
    def stream(self) -> str:
        """The stream of the heads: cross, or that of the layer."""
        return "cross" if CROSS.search(self.name) else self.layer.stream


def layers_of(body: nn.Module) -> Iterator[Layer]:
    """The items of all outermost module lists, in module order."""
    config: Any = body.config
    kind = model_kind(config)
    outer: list[str] = []
    for path, module in body.named_modules():
        if not isinstance(module, nn.ModuleList) or path.startswith(tuple(outer)):
            continue
        outer.append(f"{path}.")
        if TOWERS.search(path):
            continue
        stream: str = kind
        if kind == "encoder-decoder":
            stream = "decoder" if "decoder" in path else "encoder"
        own = getattr(config, stream, None)  # a few have a config for each stack
        hidden = field_of(own if hasattr(own, "get_text_config") else config, *HIDDEN_SIZES)
        for index, block in enumerate(module):
            yield Layer(block, path, index, stream, hidden)


def projections_of(body: nn.Module, wanted: str | None = None) -> list[Projection]:
    """Every attention output projection, in module order.

    wanted: the end of its path in a layer, for models that name it as no other does. Maps of the
    same name outside the attention are left out where there are some inside.

    Raises:
        UserError: with the candidates, where there is none, and where ``wanted`` belongs to the
            feed-forward part.
    """
    cross = model_kind(body.config) == "encoder-decoder"
    projections = []
    for layer in layers_of(body):
        for name, module in layer.block.named_modules():
            shape = linear_shape(module)
            if shape is None or not name or (CROSS.search(name) and not cross):
                continue  # without an encoder, cross-attention never runs
            if wanted is not None:
                matches = f".{name}".endswith(f".{wanted}")
            else:
                matches = shape[1] == layer.hidden and _named_like_one(layer, name)
            if matches:
                projections.append(Projection(layer, name, *shape))
    if wanted is not None:
        inside = [p for p in projections if _in_attention(p.layer, p.name)]
        projections = inside or projections
    if not projections:
        given = f" under model.head_projection={wanted}" if wanted else ""
        raise _unsettled(body, f"{type(body).__name__} has no attention output projection{given}")
    for projection in projections:
        if _in_feed_forward(projection):
            raise _unsettled(
                body,
                f"model.head_projection={wanted}: {projection.path} of {type(body).__name__} is "
                "part of the feed-forward, not of the attention",
            )
    return projections


def head_count(body: nn.Module, projection: Projection) -> int:
    """Query heads in front of a projection: its module's own count, else the config's.

    Raises:
        UserError: where they are not known, or do not divide the projection's inputs.
    """
    modules = _attention_modules(projection)
    configs = [getattr(module, "config", None) for module in modules]
    for owner in [*modules, *configs, text_config(body.config)]:
        for name in HEAD_COUNTS:
            count = getattr(owner, name, None)
            if isinstance(count, (list, tuple)):  # one for each layer
                count = dict(enumerate(count)).get(projection.layer.index)
            if not isinstance(count, int) or count < 1:
                continue
            if projection.inputs % count:
                raise UserError(
                    f"{projection.path} takes {projection.inputs} inputs, which its {count} heads "
                    f"({name}) do not divide",
                    **projection_hints(body, projection.path),
                )
            return count
    raise UserError(
        f"cannot tell how many heads {projection.path} of {type(body).__name__} has",
        allowed=f"a number in its module or config, called {', '.join(HEAD_COUNTS)}",
    )


def feed_forward(layer: Layer) -> str:
    """Path, in a layer, of the module whose output is what the feed-forward part adds.

    That is the last matrix where there is one, for some modules around it add the residual
    stream themselves; with experts, the module that holds them.
    """
    names: list[str] = [name for name, _ in layer.block.named_modules()]
    root = next((name for name in names if name.rpartition(".")[2] in FEED_FORWARDS), None)
    if root is not None:
        inside = [name.removeprefix(f"{root}.") for name in names if name.startswith(f"{root}.")]
        down = [name for name in inside if name in DOWN_PROJECTIONS]
        experts = any("expert" in name for name in inside)
        return f"{root}.{down[0]}" if len(down) == 1 and not experts else root
    down = [name for name in names if name in DOWN_PROJECTIONS]
    if len(down) == 1:
        return down[0]
    raise UserError(
        f"{layer.path} ({type(layer.block).__name__}) has no feed-forward part under a known name",
        allowed=", ".join(sorted(FEED_FORWARDS | DOWN_PROJECTIONS)),
        fix="site=residual",
    )


def linear_shape(module: nn.Module) -> tuple[int, int] | None:
    """(inputs, outputs) of a linear map, whichever way it stores its weight; else None."""
    for inputs, outputs in (("in_features", "out_features"), ("nx", "nf")):  # nx, nf: Conv1D
        if hasattr(module, inputs) and hasattr(module, outputs):
            return int(getattr(module, inputs)), int(getattr(module, outputs))
    return None


def is_plain(module: nn.Module) -> bool:
    """Whether a linear map is torch's own, or Conv1D; others are quantised, or have an adapter."""
    return type(module).forward is nn.Linear.forward or hasattr(module, "nx")


def input_dtype(module: nn.Module) -> torch.dtype:
    """Of the activations that a linear map takes; quantised weights have types of their own."""
    kinds = {p.dtype for p in module.parameters() if p.is_floating_point() and p.dtype.itemsize > 1}
    return kinds.pop() if len(kinds) == 1 else torch.float32


def in_attention(body: nn.Module, path: str) -> bool:
    """Whether a module of the body is part of an attention module, by names and classes."""
    for layer in layers_of(body):
        if path.startswith(f"{layer.path}."):
            return _in_attention(layer, path.removeprefix(f"{layer.path}."))
    return False


def candidates(body: nn.Module) -> list[str]:
    """Names of the linear maps inside the layers that could be the projection.

    They map onto the hidden size and make no queries, keys or values. Where some are part of an
    attention module, only those; else those outside the feed-forward part and of no mixer that
    keeps a state in place of attention.
    """
    named: dict[str, bool] = {}
    for layer in layers_of(body):
        for name, module in layer.block.named_modules():
            shape = linear_shape(module)
            if not name or shape is None or shape[1] != layer.hidden:
                continue
            attends = _in_attention(layer, name)
            if INPUTS.search(name.rpartition(".")[2]) or not (attends or _unknown(layer, name)):
                continue
            named[name] = named.get(name, False) or attends
    attending = [name for name, attends in named.items() if attends]
    return attending or list(named)


def projection_hints(body: nn.Module, failed: str = "") -> dict[str, str]:
    """``allowed`` and ``fix`` of an error about the projection; empty where no override helps.

    failed: dotted path of the projection that the error is about.
    """
    names = [name for name in candidates(body) if not failed.endswith(f".{name}")]
    if not names:
        return {}
    return {
        "allowed": ", ".join(names),
        "fix": "model.head_projection=NAME with one of these",
    }


def _unsettled(body: nn.Module, wrong: str) -> UserError:
    hints = projection_hints(body)
    if not hints:
        wrong += ", and its layers hold no linear map that could be one"
    return UserError(wrong, **hints)


def _named_like_one(layer: Layer, name: str) -> bool:
    parent, _, leaf = name.rpartition(".")
    if leaf == "linear":  # a projection in a wrapper of its own
        leaf = parent.rpartition(".")[2]
    return leaf in PROJECTIONS and _in_attention(layer, name)


def _in_attention(layer: Layer, name: str) -> bool:
    """Whether a module around this one, up to the stack of layers, is an attention module."""
    parents = name.split(".")[:-1]
    if any(ATTENTION.search(parent) for parent in (layer.stack.rpartition(".")[2], *parents)):
        return True
    return any(ATTENTION.search(type(module).__name__) for module in _around(layer, parents))


def _around(layer: Layer, parents: list[str]) -> Iterator[nn.Module]:
    for depth in range(1, len(parents) + 1):
        yield layer.block.get_submodule(".".join(parents[:depth]))


def _in_feed_forward(projection: Projection) -> bool:
    parents = projection.name.split(".")[:-1]
    inside = any(FEED_FORWARD.search(parent) for parent in parents)
    return inside and not _in_attention(projection.layer, projection.name)


def _unknown(layer: Layer, name: str) -> bool:
    """Whether neither names nor classes say that a map is no part of attention."""
    if any(FEED_FORWARD.search(parent) for parent in name.split(".")[:-1]):
        return False
    return not any(STATE.search(type(module).__name__) for module in layer.block.modules())


def _attention_modules(projection: Projection) -> list[nn.Module]:
    """The attention module around a projection and its parts, outermost first."""
    block, parts = projection.layer.block, projection.name.split(".")
    for depth, part in enumerate(parts[:-1], start=1):
        if ATTENTION.search(part) or depth == len(parts) - 1:
            return list(block.get_submodule(".".join(parts[:depth])).modules())
    return [block]
