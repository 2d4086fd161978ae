"""Passes that begin at a layer, from what an earlier pass of the same batch left there.

An edit in layer ``l`` changes nothing before it, so the layers before it need not be computed
again: each returns what it returned in the earlier pass. Embeddings, masks, positions and hooks
stay the model's own. Over all layers this takes about half of the work of whole passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from probes.models.forward import forward
from probes.models.hf_config import Kind, field_of
from probes.models.hooks import Visit, hooked
from probes.models.sites import Site
from probes.models.structure import layers_of

PROVED = 6
"""Layers of each stream at which a pass is resumed to prove that it can be."""
TOLERANCE = 64
"""Roundings of the model's dtype that a resumed pass may differ by from a whole one."""
BY_SHAPE = 4
"""Times the difference of whole passes of two shapes, by which resumed ones may differ as well."""


@dataclass
class Restart:
    """The layers of a body, and what they returned in the pass that was kept.

    ``resuming`` gives the values of a whole pass only where a model's layers hand on nothing but
    what they return; ``prove`` finds that out, and where they do more, passes are whole ones.
    """

    body: nn.Module
    kind: Kind
    possible: bool = True
    """Whether passes are resumed; if not, ``resuming`` runs all layers."""
    _outputs: dict[str, Any] = field(default_factory=dict)
    """Path of a layer -> what it returned, in the order in which the layers ran."""
    _layers: dict[str, nn.Module] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._layers = {layer.path: layer.block for layer in layers_of(self.body)}

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Keep what every layer returns in the pass inside the block, instead of the last kept."""
        self.forget()
        hooks = []
        try:
            if self.possible:
                for path, layer in self._layers.items():
                    hooks.append(layer.register_forward_hook(self._keep(path)))
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @contextmanager
    def resuming(self, site: Site, *, variants: int = 1) -> Iterator[None]:
        """Let passes inside the block begin at the layer of ``site``.

        They run the kept batch, repeated ``variants`` times along its first axis.
        """
        before = self._before(site)
        saved = {path: vars(self._layers[path]).get("forward") for path in before}
        try:
            for path, following in zip(before, [*before, ""][1:], strict=True):
                last = _stack(following) != _stack(path)
                self._layers[path].forward = self._stand_in(path, variants, last)
            yield
        finally:
            for path, own in saved.items():
                if own is None:
                    vars(self._layers[path]).pop("forward", None)
                else:
                    self._layers[path].forward = own

    def forget(self) -> None:
        """Let go of what was kept."""
        self._outputs.clear()

    @property
    def kept_bytes(self) -> int:
        """Size of what is kept."""
        seen = {
            tensor.data_ptr(): tensor.nbytes
            for output in self._outputs.values()
            for tensor in _tensors(output)
        }
        return sum(seen.values())

    def prove(self, sites: Sequence[Site]) -> None:
        """Resume a tiny padded pass at layers of every stream, and compare it with a whole one.

        They are spread over the depth, ends included. Where they differ, ``possible`` becomes
        false: state crosses the layers in another way. A pass of the same shape has to be the same;
        one of two variants may differ by what a whole pass of that shape differs by, since products
        of other shapes are rounded in another way and a model can blow that up.
        """
        size = field_of(self.body.config, "vocab_size")
        ids = torch.arange(12).reshape(2, 6) % max(1, size - 3) + min(3, size - 1)  # (2, 6)
        mask = torch.ones_like(ids)
        mask[1, 4:] = 0
        try:
            self.possible = self._proved(_spread(sites), ids, mask)
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError):
            self.possible = False
        finally:
            self.forget()

    def _proved(self, sites: Sequence[Site], ids: Tensor, mask: Tensor) -> bool:
        """Whether passes resumed at all of these sites are what whole ones are."""
        with self.keeping():
            clean = self._last(ids, mask)  # (2, T, d_model)
        two = ids.repeat(2, 1), mask.repeat(2, 1)  # (4, 6) each
        real = _real_positions(mask, clean.shape[1])

        def error(of: Tensor, than: Tensor) -> float:
            return float((of - than)[real].abs().max())

        allowed = TOLERANCE * torch.finfo(clean.dtype).eps * float(clean.abs().max())
        by_shape = BY_SHAPE * error(self._last(*two)[: len(ids)], clean)
        for number, site in enumerate(sites):
            half = number % 2  # is edited, and the other is compared
            with hooked(self.body, [site], _without(half)):
                whole = self._last(ids, mask)
                self._last(ids.flip(0), mask.flip(0))  # what is left over from another pass shows
                with self.resuming(site):
                    again = self._last(ids, mask)
                with self.resuming(site, variants=2):
                    variants = self._last(*two).unflatten(0, (2, -1))  # (2, 2, T, d_model)
            if not error(again, whole) <= allowed:
                return False
            if not error(variants[1 - half], clean) <= allowed + by_shape:
                return False
        return True

    def _last(self, ids: Tensor, mask: Tensor) -> Tensor:
        output: Any = forward(self.body, self.kind, ids, mask)
        last: Tensor = output.logits if hasattr(output, "logits") else output.last_hidden_state
        return last

    def _keep(self, path: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            self._outputs[path] = output

        return hook

    def _before(self, site: Site) -> list[str]:
        """Layers that ran before that of the site; none where passes are not resumed."""
        before: list[str] = []
        for path in self._outputs if self.possible else ():
            if site.module == path or site.module.startswith(f"{path}."):
                return before
            before.append(path)
        return []

    def _stand_in(self, path: str, variants: int, last: bool) -> Callable[..., Any]:
        """A layer's ``forward`` that computes nothing.

        last: of its stack, or before the site: it returns what it returned in the kept pass. The
            layers before it hand on the hidden state that they are given, whatever it is.
        """
        kept = self._outputs[path]
        batch = len(next(_tensors(kept)))

        def again(value: Any) -> Any:
            if isinstance(value, Tensor):
                same = value.dim() == 0 or len(value) != batch or variants == 1
                return value if same else value.repeat(variants, *[1] * (value.dim() - 1))
            if isinstance(value, tuple):
                return tuple(again(item) for item in value)
            return value

        def stand_in(*args: Any, **kwargs: Any) -> Any:
            if last:
                return again(kept)
            hidden = args[0] if args else kwargs["hidden_states"]
            if isinstance(kept, Tensor):
                return hidden
            return (hidden, *again(tuple(kept[1:])))

        return stand_in


def _stack(path: str) -> str:
    return path.rpartition(".")[0]


def _without(half: int) -> Visit:
    """An edit that takes away all that is at a site, in the first or the second half of a batch."""

    def edit(site: Site, z: Tensor) -> Tensor:
        z = z.unflatten(0, (2, -1)).clone()
        z[half] = 0
        return z.flatten(0, 1)

    return edit


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, tuple):
        for item in output:
            yield from _tensors(item)


def _real_positions(mask: Tensor, tokens: int) -> Tensor:
    """(B, tokens) where a text stands; an encoder-decoder's decoder has one token more."""
    extra = tokens - mask.shape[1]
    return torch.nn.functional.pad(mask.bool(), (extra, 0), value=True)


def _spread(sites: Sequence[Site]) -> list[Site]:
    """One site each of some layers of every stream, in the order of the pass."""
    chosen: list[Site] = []
    for stream in dict.fromkeys(site.stream for site in sites):
        of_stream = list({s.layer: s for s in sites if s.stream == stream}.values())
        count = min(PROVED, len(of_stream))
        steps = [round(n * (len(of_stream) - 1) / max(1, count - 1)) for n in range(count)]
        chosen += [of_stream[step] for step in steps]
    return [site for site in sites if site in chosen]
