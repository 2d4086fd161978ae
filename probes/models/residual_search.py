"""Find the residual stream of a model, and prove on one tiny forward pass that it is one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from probes.core.errors import UserError
from probes.models.forward import forward
from probes.models.hf_config import field_of, model_kind, text_config
from probes.models.language_model import body_of, has_output_head, logits, output_head
from probes.models.norms import Norm, is_norm, read_norm
from probes.models.residual import Branch, ResidualStream, StreamLayer, head_weight
from probes.models.sites import Site, find_sites
from probes.models.structure import HIDDEN_SIZES, Layer, feed_forward, layers_of
from probes.models.verification import tiny_tokens

ROUNDINGS = 16.0
"""Rounding errors of the model's dtype that a sum over a layer may be off by."""
CHECKED_TOKENS = 64
"""Of the vocabulary, for the logits of the tiny pass."""


def find_residual_stream(
    model: nn.Module,
    *,
    stream: str | None = None,
    head_projection: str | None = None,
    input_ids: Sequence[int] | None = None,
) -> ResidualStream:
    """The residual stream of a model, verified.

    model: with its language-model head for logits, or a body.
    stream: ``decoder`` or ``encoder``; None: the one that leads to logits, of encoders theirs.
    head_projection: as for ``find_sites``.
    input_ids: tokens of the tiny pass; None takes the first few ids of the vocabulary.

    Raises:
        UserError: for a model whose layers do something else to the stream than add to it or
            normalise the sum, and for weights that cannot be read.
    """
    kind = model_kind(model.config)
    body = body_of(model)
    wanted = stream or ("encoder" if kind == "encoder" else "decoder")
    ends = [site for site in find_sites(body, "residual") if site.stream == wanted]
    heads = [
        site
        for site in find_sites(body, head_projection=head_projection)
        if site.stream == wanted or (site.stream == "cross" and wanted == "decoder")
    ]
    layers = [layer for layer in layers_of(body) if layer.path in {site.module for site in ends}]
    recorder = _Recorder(body, model, layers, heads)
    recorder.run(kind, input_ids)
    parts = [
        _layer(recorder, layer, end, [site for site in heads if site.layer == layer.index])
        for layer, end in zip(layers, ends, strict=True)
    ]
    for before, after in pairwise(layers):
        if not _equal(recorder.calls[before.path].output, recorder.calls[after.path].input):
            raise _refused(model, f"something happens between {before.path} and {after.path}")
    kinds = {additive for _, additive in parts}
    if len(kinds) > 1:
        raise _refused(model, "some of its layers normalise the sum, others do not")
    found = ResidualStream(
        model=type(model).__name__,
        stream=wanted,
        like=recorder.like,
        layers=tuple(layer for layer, _ in parts),
        additive=kinds.pop(),
        final=_final_norm(recorder, layers),
        head=None,
        head_factors=(1.0, 1.0),
        cap=None,
    )
    return _with_head(found, recorder, layers[-1]) if recorder.head is not None else found


# --- the tiny pass -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Call:
    """What went in and out of a module in the tiny pass, each (tokens, width)."""

    order: int
    input: Tensor
    output: Tensor


class _Recorder:
    """The tiny pass: calls of layers, their branches, all norms, and the head."""

    def __init__(
        self, body: nn.Module, model: nn.Module, layers: Sequence[Layer], heads: Sequence[Site]
    ) -> None:
        self.body, self.model = body, model
        self.mlps = {layer.path: _mlp(layer) for layer in layers}
        stacks = tuple(f"{layer.path}." for layer in layers)
        norms = [path for path, module in body.named_modules() if is_norm(module)]
        self.inner = [path for path in norms if path.startswith(stacks)]
        self.outer = [path for path in norms if not path.startswith(stacks)]
        branches = [*(site.module for site in heads), *(m for m in self.mlps.values() if m)]
        self.watched = [*(layer.path for layer in layers), *branches, *norms]
        to_logits = has_output_head(model) and layers[0].stream != "encoder"
        self.head = output_head(model) if to_logits else None
        self.calls: dict[str, _Call] = {}
        self.logits: Tensor | None = None
        self.width = layers[0].hidden

    def run(self, kind: Any, ids: Sequence[int] | None) -> None:
        tokens = tiny_tokens(self.body, ids)
        with self._hooks():
            if self.head is None:
                forward(self.body, kind, tokens, torch.ones_like(tokens))
            else:
                values = logits(self.model, kind, tokens, torch.ones_like(tokens))
                self.logits = values.flatten(0, -2).clone()
        last = self.calls[self.watched[0]].output
        self.dtype = last.dtype
        wide = torch.float64 if self.dtype == torch.float64 else torch.float32
        self.like = torch.zeros(self.width, dtype=wide, device=last.device)
        # Inside, several norms compute in float32 whatever the model's dtype.
        self.rounding = max(torch.finfo(self.dtype).eps, torch.finfo(torch.float32).eps)

    @contextmanager
    def _hooks(self) -> Iterator[None]:
        modules = {path: self.body.get_submodule(path) for path in self.watched}
        if self.head is not None:
            modules["head"] = self.head
        handles = [
            module.register_forward_hook(self._keep(path), with_kwargs=True)
            for path, module in modules.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _keep(self, path: str) -> Any:
        def keep(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            x = args[0] if args else next(v for v in kwargs.values() if isinstance(v, Tensor))
            y = output if isinstance(output, Tensor) else output[0]
            call = _Call(len(self.calls), x.flatten(0, -2).clone(), y.flatten(0, -2).clone())
            self.calls.setdefault(path, call)

        return keep

    def wide(self, x: Tensor) -> Tensor:
        return x.to(self.like)

    def norm_of(self, x: Tensor, paths: Sequence[str], *, near: bool = False) -> str | None:
        """The norm that ``x`` enters; ``near``: up to rounding."""
        for path in paths:
            call = self.calls.get(path)
            if call is None or call.input.shape != x.shape:
                continue
            if _equal(call.input, x) or (near and self.close(x, call.input, x)):
                return path
        return None

    def read(self, path: str) -> Norm:
        return read_norm(self.body.get_submodule(path), self.like)

    def close(self, expected: Tensor, actual: Tensor, *parts: Tensor) -> bool:
        """Whether two sums of these parts are equal up to rounding of the model's dtype."""
        size = sum((p.abs() + p.abs().mean(-1, keepdim=True) for p in parts), actual.abs())
        difference = (self.wide(expected) - self.wide(actual)).abs()
        return bool((difference <= ROUNDINGS * self.rounding * size).all())  # false for NaN too


def _mlp(layer: Layer) -> str | None:
    try:
        return f"{layer.path}.{feed_forward(layer)}"
    except UserError:
        return None  # a layer of attention alone, or of a state-space mixer


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a, b)


# --- layers --------------------------------------------------------------------------------------


def _layer(
    recorder: _Recorder, layer: Layer, end: Site, heads: Sequence[Site]
) -> tuple[StreamLayer, bool]:
    """What one layer does to the stream, and whether it is additive."""
    begin = replace(end, side="input")
    if not heads:
        return StreamLayer(layer.index, begin, end, ()), True
    branches = [_branch(recorder, layer, heads=site, end=end) for site in heads]
    mlp = recorder.mlps[layer.path]
    if mlp is not None and mlp in recorder.calls:
        branches.append(_branch(recorder, layer, mlp=mlp, end=end))
    branches.sort(key=lambda branch: recorder.calls[branch.output.module].order)
    found = _additive(recorder, layer, branches)
    additive = found is not None
    found = found or _post_norm(recorder, layer, branches)
    if found is None:
        raise _refused(
            recorder.model,
            f"{layer.path} changes the residual stream by something else than its attention and "
            "its MLP",
        )
    return StreamLayer(layer.index, begin, end, tuple(found)), additive


def _branch(
    recorder: _Recorder, layer: Layer, *, end: Site, heads: Site | None = None, mlp: str = ""
) -> Branch:
    weight = bias = None
    if heads is None:
        output = replace(end, kind="mlp_output", module=mlp)
    else:
        output = replace(end, kind="attention_output", module=heads.module, stream=heads.stream)
        weight, bias = head_weight(recorder.body, heads, recorder.like)
        _check_weight(recorder, heads, weight, bias)
    inside = [path for path in recorder.inner if path.startswith(f"{layer.path}.")]
    path = recorder.norm_of(recorder.calls[output.module].output, inside)
    norm = None if path is None else recorder.read(path)
    return Branch(output, heads, weight, bias, norm, 1.0)


def _check_weight(recorder: _Recorder, site: Site, weight: Tensor, bias: Tensor | None) -> None:
    """Refuse a projection that is no linear map, such as one that rounds its inputs."""
    call = recorder.calls[site.module]
    z, matrix = recorder.wide(call.input), recorder.wide(weight.flatten(0, 1))  # (T, H * D)
    parts = [z.abs() @ matrix.abs()] if bias is None else [z.abs() @ matrix.abs(), bias.abs()]
    expected = z @ matrix if bias is None else z @ matrix + bias  # (T, M)
    if not recorder.close(expected, recorder.wide(call.output), *parts):
        raise _refused(
            recorder.model, f"{site.module} is quantised in a way that heads do not add up"
        )


def _additive(recorder: _Recorder, layer: Layer, branches: Sequence[Branch]) -> list[Branch] | None:
    """The branches with their factors, where ``x_out = x_in + sum of factor * norm(output)``."""
    call = recorder.calls[layer.path]
    begin, end = recorder.wide(call.input), recorder.wide(call.output)  # (T, M)
    added = [b.added(recorder.wide(recorder.calls[b.output.module].output)) for b in branches]
    columns = torch.stack([x.flatten() for x in added], dim=1).cpu().double()  # (T * M, branches)
    change = (end - begin).flatten().cpu().double()
    solution = torch.linalg.lstsq(columns, change[:, None], driver="gelsd")[0]
    fitted: list[float] = solution[:, 0].tolist()
    tolerance = max(1e-4, 4 * recorder.rounding)
    named = [_named(factor, recorder.model.config, tolerance) for factor in fitted]
    for factors in (named, fitted):
        parts = [factor * x for factor, x in zip(factors, added, strict=True)]
        total = torch.stack([begin, *parts]).sum(dim=0)
        if recorder.close(total, end, begin, *parts):
            return [replace(b, factor=f) for b, f in zip(branches, factors, strict=True)]
    return None


def _named(factor: float, config: Any, tolerance: float) -> float:
    """1, or the number of the config that a fitted factor stands for, or itself."""
    text = text_config(config)
    numbers: list[float] = [v for v in vars(text).values() if isinstance(v, float) and v]
    width = 1 / math.sqrt(field_of(text, *HIDDEN_SIZES))
    for exact in (1.0, width, *numbers, *(1 / number for number in numbers)):
        if abs(factor - exact) <= tolerance * abs(exact):
            return exact
    return factor


def _post_norm(
    recorder: _Recorder, layer: Layer, branches: Sequence[Branch]
) -> list[Branch] | None:
    """The branches with the norms that follow each sum, where ``x = norm(x + output)``."""
    call = recorder.calls[layer.path]
    x, found = recorder.wide(call.input), []
    inside = [path for path in recorder.inner if path.startswith(f"{layer.path}.")]
    for branch in branches:
        total = x + branch.added(recorder.wide(recorder.calls[branch.output.module].output))
        norm = recorder.norm_of(total, inside, near=True)
        if norm is None:
            return None
        found.append(replace(branch, after=recorder.read(norm)))
        x = recorder.wide(recorder.calls[norm].output)
    return found if recorder.close(x, recorder.wide(call.output), x) else None


# --- after the layers ----------------------------------------------------------------------------


def _final_norm(recorder: _Recorder, layers: Sequence[Layer]) -> Norm | None:
    path = recorder.norm_of(recorder.calls[layers[-1].path].output, recorder.outer)
    return None if path is None else recorder.read(path)


def _with_head(found: ResidualStream, recorder: _Recorder, last: Layer) -> ResidualStream:
    """With the language-model head, its factors and soft-capping, and its logits checked."""
    assert recorder.head is not None and recorder.logits is not None
    residual = recorder.wide(recorder.calls[last.path].output)
    hidden = residual if found.final is None else found.final(residual)
    call, actual = recorder.calls["head"], recorder.wide(recorder.logits)
    config: Any = recorder.model.config
    texts = (text_config(config), getattr(config, "decoder", None))
    caps = (getattr(text, "final_logit_softcapping", None) for text in texts)
    cap = next((float(value) for value in caps if value), None)
    before_cap = actual if cap is None else cap * torch.atanh((actual / cap).clamp(-0.99, 0.99))
    usable = torch.ones_like(actual, dtype=torch.bool) if cap is None else actual.abs() < 0.9 * cap
    tolerance = max(1e-4, 4 * recorder.rounding)
    factors = (
        _named(_ratio(recorder.wide(call.input), hidden), config, tolerance),
        _named(_ratio(before_cap[usable], recorder.wide(call.output)[usable]), config, tolerance),
    )
    found = replace(found, head=recorder.head, head_factors=factors, cap=cap)
    size = actual.shape[-1]
    tokens = torch.linspace(0, size - 1, min(size, CHECKED_TOKENS), device=actual.device).long()
    expected = found.logits(residual, tokens=tokens.expand(len(residual), -1))  # (T, K)
    picked = recorder.wide(found.unembedding()[0][tokens])
    scale = abs(factors[0] * factors[1]) * (hidden.abs() @ picked.abs().T)  # (T, K)
    difference = (expected - actual[:, tokens]).abs()
    if not (difference <= ROUNDINGS * recorder.rounding * (scale + actual.abs().mean())).all():
        raise _refused(
            recorder.model,
            "its logits are not its head applied to the normed end of the residual stream (off by "
            f"{float(difference.max()):.2g})",
        )
    return found


def _ratio(y: Tensor, x: Tensor) -> float:
    """The factor between two tensors, by least squares."""
    return float((x * y).sum() / x.square().sum())


def _refused(model: nn.Module, what: str) -> UserError:
    return UserError(
        f"{type(model).__name__}: {what}, so the direct way from a head to the logits is not known",
        allowed="models whose layers add attention and MLP to the residual stream",
        fix="methods=[ablation]",
    )
