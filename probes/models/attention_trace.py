"""What the attention of a model computes, seen in a forward pass: its heads and their width.

A config says how many heads a model has; this says how many there are. Attention is recognised by
what it calls: ``scaled_dot_product_attention``, or a softmax over the keys and the product with the
values. Kernels of other libraries, linear attention and state-space mixers are not seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from probes.models.sites import Site

PRODUCTS = {"matmul", "__matmul__", "bmm"}


@dataclass(frozen=True)
class Attention:
    """One call: heads x width numbers for each token."""

    heads: int
    width: int | None
    """Of what a head puts out; None where only the weights were seen."""


@dataclass(frozen=True)
class Seen:
    """The attention around a site, in its layer."""

    before: Attention | None
    """The last call before the site."""
    after: bool
    """Whether there was one after it."""


@dataclass(frozen=True)
class Silence:
    """A head whose attention puts out zeros: what is read at the site must lose it, and no other.

    Attention calls between the site before (of the same layer, if there is one) and this site.
    """

    site: Site
    after: str | None
    """Module of the site before."""
    head: int


class AttentionTrace:
    """Attention calls and sites in the order of one forward pass."""

    def __init__(self, silence: Silence | None = None) -> None:
        self.silence = silence
        self.events: list[tuple[str, Any]] = []
        """``("layer", path)``, ``("site", path)`` and ``("attention", Attention)``."""

    def around(self, site: Site) -> Seen:
        """The attention before and after a site, in the layer that it is in."""
        before: Attention | None = None
        passed = after = inside = False
        for kind, value in self.events:
            if kind == "layer":
                inside = value == _layer(site.module)
            elif inside and kind == "site":
                passed = passed or value == site.module
            elif inside and kind == "attention":
                after = after or passed
                before = before if passed else value
        return Seen(before, after)

    @contextmanager
    def of_pass(self, body: nn.Module, sites: Sequence[Site], tokens: set[int]) -> Iterator[None]:
        """Record the passes inside the block.

        tokens: of the streams, with padding; what has other shapes is no attention between them.
        """
        paths = [("site", site.module) for site in sites]
        paths += [("layer", layer) for layer in {_layer(site.module) for site in sites}]
        with ExitStack() as stack:
            for event in paths:
                hook = body.get_submodule(event[1]).register_forward_pre_hook(
                    lambda module, args, event=event: self.events.append(event)
                )
                stack.callback(hook.remove)
            stack.enter_context(_AttentionMode(self, tokens))
            yield

    def silence_of(self, site: Site) -> Silence:
        """How to silence the last head of a site that was seen."""
        at = self.events.index(("site", site.module))
        return Silence(site, self._site_before(self.events[:at]), site.units - 1)

    def silenced(self) -> int | None:
        """The head that is silent in the attention call that comes now."""
        if self.silence is None:
            return None
        layers = [value for kind, value in self.events if kind == "layer"]
        if layers[-1:] != [_layer(self.silence.site.module)]:
            return None
        before = self._site_before(self.events)
        return self.silence.head if before == self.silence.after else None

    @staticmethod
    def _site_before(events: Sequence[tuple[str, Any]]) -> str | None:
        """The last site of the layer that runs."""
        for kind, value in reversed(events):
            if kind == "layer":
                return None
            if kind == "site":
                return str(value)
        return None


def _layer(path: str) -> str:
    """The outermost item of a module list that a module is in.

    >>> _layer("encoder.block.3.layer.0.SelfAttention.o")
    'encoder.block.3'
    """
    found = re.match(r"(?:.*?\.)?\d+(?=\.|$)", path)
    return found.group() if found else path


class _AttentionMode(TorchFunctionMode):
    """Sees every call of torch's functions, and changes none but for a head that is silent."""

    def __init__(self, trace: AttentionTrace, tokens: set[int]) -> None:
        super().__init__()
        self.trace, self.tokens = trace, tokens
        self.weights: tuple[int, ...] | None = None
        """Shape of the last softmax over keys whose product is still to come."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name == "scaled_dot_product_attention":
            return self._fused(output)
        if name == "softmax" and isinstance(output, Tensor):
            return self._softmax(output)
        if name in PRODUCTS and self.weights is not None:
            self._product(args)
        return output

    def _fused(self, output: Tensor) -> Tensor:
        if output.dim() != 4 or output.shape[-2] not in self.tokens:  # (B, H, T, D)
            return output
        self._add(Attention(output.shape[1], output.shape[-1]))
        return self._silence(output)

    def _softmax(self, output: Tensor) -> Tensor:
        # (B, H, T, keys); three dimensions may be heads in the batch, or the experts of a router.
        self.weights = None
        if output.dim() != 4 or output.shape[-2] not in self.tokens:
            return output
        self.weights = tuple(output.shape)
        self._add(Attention(output.shape[1], None))
        return self._silence(output)

    def _product(self, args: tuple[Any, ...]) -> None:
        if len(args) < 2 or not all(isinstance(x, Tensor) for x in args[:2]):
            return
        if tuple(args[0].shape) == self.weights and args[1].dim() == 4:
            kind, _ = self.trace.events.pop()
            assert kind == "attention"
            self._add(Attention(args[0].shape[1], args[1].shape[-1]))
            self.weights = None

    def _add(self, attention: Attention) -> None:
        self.trace.events.append(("attention", attention))

    def _silence(self, output: Tensor) -> Tensor:
        head = self.trace.silenced()
        if head is None or head >= output.shape[1]:
            return output
        output = output.clone()
        output[:, head] = 0
        return output
