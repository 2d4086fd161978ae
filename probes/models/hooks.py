"""The one seam where activations are read and edited: hooks on the modules of a list of sites."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from probes.models.sites import Site

Visit = Callable[[Site, Tensor], Tensor | None]


class VisitedTwice(RuntimeError):
    """A site was visited again in one pass: what was read would be overwritten."""

    def __init__(self, site: Site) -> None:
        super().__init__(f"{site.module} ran more than once in one forward pass")
        self.site = site


class PassStopped(Exception):
    """Raised by the last site's hook to end a forward pass early; ``forward`` swallows it."""


@contextmanager
def hooked(
    body: nn.Module, sites: Sequence[Site], visit: Visit, *, stop_after_last: bool = False
) -> Iterator[None]:
    """Call ``visit(site, z)`` at each site of every forward pass of ``body`` inside the block.

    ``z`` is a view of shape (batch, tokens, units, width) of what the model computes with: copy
    what is kept (a kept slice keeps the whole tensor alive), and do not write into it. Reading
    leaves the pass bit-identical. A returned tensor of the same shape replaces the activation:
    this is how heads are ablated, patched or steered.

    With ``stop_after_last`` a pass ends as soon as all sites have been visited; its output is
    then None.

    Raises:
        VisitedTwice: in a pass that visits a site twice.

    >>> with hooked(body, sites, lambda site, z: print(site.layer, z.shape)):   # doctest: +SKIP
    ...     forward(body, "decoder", input_ids, attention_mask)
    0 torch.Size([1, 5, 12, 64])
    """
    state = _Pass(sites, visit, stop_after_last)
    handles = [
        body.register_forward_pre_hook(state.begin, with_kwargs=True),
        body.register_forward_hook(state.end, always_call=True),
    ]
    inner = _around(sites)
    if inner:  # some models with a head call a part of their body (OPT)
        part = body.get_submodule(inner)
        handles.append(part.register_forward_pre_hook(state.begin_part, with_kwargs=True))
    try:
        for site in sites:
            module = body.get_submodule(site.module)
            if site.side == "input":
                hook = module.register_forward_pre_hook(state.on_input(site), with_kwargs=True)
            else:
                hook = module.register_forward_hook(state.on_output(site))
            handles.append(hook)
        yield
    finally:
        for handle in handles:
            handle.remove()


def differentiable(visit: Visit) -> Visit:
    """A visit whose ``z`` requires gradients, in passes that are recorded for differentiation."""

    def visit_leaf(site: Site, z: Tensor) -> Tensor:
        if not z.requires_grad:  # the first site of a stream; the sites after it depend on it
            z = z.detach().requires_grad_()
        edited = visit(site, z)
        if edited is not None:
            return edited
        # The pass goes on with the tensor that was visited (``z`` is a view of another), or with a
        # copy where it is a leaf, which a model must not change in place.
        return z.clone() if z.is_leaf else z

    return visit_leaf


def _around(sites: Sequence[Site]) -> str:
    """Path of the innermost module that runs once a pass around all sites; empty: the body."""
    paths = [site.module.split(".") for site in sites]
    common: list[str] = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1 or parts[0].isdigit():
            break
        common.append(parts[0])
    # The last one is the list of layers, which is no module that runs, or a part of a layer.
    return ".".join(common[:-1])


class _Pass:
    """What the hooks of one ``hooked`` block share: the batch size and the sites still to come."""

    def __init__(self, sites: Sequence[Site], visit: Visit, stop_after_last: bool) -> None:
        self.sites, self.visit, self.stop = sites, visit, stop_after_last
        self.batch = 1
        self.pending: set[Site] = set()
        self.inside = False

    def begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        first = args[0] if args else next(x for x in kwargs.values() if isinstance(x, Tensor))
        self.batch = len(first)
        self.pending = set(self.sites)
        self.inside = True

    def end(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self.inside = False

    def begin_part(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self.inside:
            self.begin(module, args, kwargs)
            self.inside = False

    def on_input(self, site: Site) -> Callable[..., Any]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            name = None if args else next(iter(kwargs))
            edited = self._visit(site, kwargs[name] if name else args[0])
            if edited is not None and name:
                return args, kwargs | {name: edited}
            if edited is not None:
                return (edited, *args[1:]), kwargs
            self._maybe_stop()
            return None

        return hook

    def on_output(self, site: Site) -> Callable[..., Any]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            first = output if isinstance(output, Tensor) else output[0]
            edited = self._visit(site, first)
            if edited is None:
                self._maybe_stop()
                return None
            return edited if isinstance(output, Tensor) else (edited, *output[1:])

        return hook

    def _visit(self, site: Site, x: Tensor) -> Tensor | None:
        if site not in self.pending:  # a layer that is run again would overwrite what was read
            raise VisitedTwice(site)
        self.pending.discard(site)
        z = x.view(*x.shape[:-1], site.units, site.width)  # (B, T, H, D), or (B * T, H, D)
        if z.dim() == 3:
            # Some layers flatten batch and tokens for their feed-forward part.
            z = z.view(self.batch, -1, *z.shape[1:])  # (B, T, H, D)
        edited = self.visit(site, z)
        if edited is None:
            return None
        if edited.shape != z.shape:
            raise ValueError(f"edit of {site.module}: {tuple(edited.shape)} for {tuple(z.shape)}")
        return edited.reshape(x.shape).to(x.dtype)

    def _maybe_stop(self) -> None:
        if self.stop and not self.pending:
            raise PassStopped
