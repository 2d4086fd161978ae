"""Proof, on two tiny forward passes, that the sites found in a model are what they should be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from probes.core.errors import UserError
from probes.models.attention_trace import AttentionTrace
from probes.models.forward import forward, reads_tokens, token_offset
from probes.models.head_identity import identity_error, projection_weight
from probes.models.hf_config import Kind, field_of, model_kind, special_tokens
from probes.models.hooks import VisitedTwice, hooked
from probes.models.padding import Read, Side, check_padding, padded
from probes.models.sites import Site
from probes.models.structure import in_attention, linear_shape, projection_hints

__all__ = ["identity_error", "projection_weight", "tiny_tokens", "verify_sites"]

SHORT, LONG = 5, 11
"""Tokens of the text that is run alone, and of the longer one beside it in the padded batch."""


def verify_sites(
    body: nn.Module,
    sites: Sequence[Site],
    *,
    input_ids: Sequence[int] | None = None,
    padding: Sequence[Side] = ("right",),
) -> None:
    """Check each site: it fires exactly once, has its width, and its heads make up the output.

    For heads, ``sum_h z_h @ W_O[h] + b`` must equal the output of the projection, up to the
    rounding of the model's dtype (a few percent where the projection is quantised). The sum is
    formed in float64 from the module's own weight. Any split of the inputs passes that, so the
    heads and their width must also be those that the attention itself computes, where its calls
    can be seen. A text in a padded batch must give the numbers of the text alone.

    input_ids: tokens of the text; null takes some ids of the vocabulary.
    padding: sides that are tried; extraction pads on the right. A side that ``forward`` refuses
    for this model is left out.

    Raises:
        PaddingError: where padding changes the numbers; everything else is right then.
        UserError: that names the site, the candidates and ``model.head_projection``; also where
            the model cannot be run on a text at all.
    """
    if not sites:
        return
    _require_tokens(body)
    texts = short, long = _texts(body, input_ids)
    kind = model_kind(body.config)
    heads = [site for site in sites if site.kind == "heads"]
    outputs = {s: replace(s, side="output", units=1, width=_outputs(body, s)) for s in heads}
    with _running(body):
        alone = _read(body, [short], [*sites, *outputs.values()])
    for site in sites:
        if site not in alone:
            raise _wrong(body, site, "ran 0 times in one forward pass, not once")
    trace, lengths = AttentionTrace(), {len(long) + token_offset(kind, s.stream) for s in sites}
    with _running(body), trace.of_pass(body, heads, lengths):
        batch = _read(body, [long, short], sites)
    for site in sites:
        _check_shape(body, site, batch[site], len(long) + token_offset(kind, site.stream))
    for site, output in outputs.items():
        _check_identity(body, site, alone[site], alone.pop(output))
        _check_attention(body, site, trace)
    for stream in dict.fromkeys(site.stream for site in heads):
        first = next(site for site in heads if site.stream == stream)
        if trace.around(first).before is not None:
            _check_silence(body, first, heads, alone[first], short, trace)
    _check_padding(body, kind, texts, alone, batch, padding)


def _require_tokens(body: nn.Module) -> None:
    if not reads_tokens(body):
        reads = getattr(body, "main_input_name", "something else")
        raise UserError(
            f"{type(body).__name__} reads {reads}, not the tokens of a text",
            allowed="models whose forward pass takes input_ids",
            fix="model.name=ANOTHER_MODEL",
        )


def _check_padding(
    body: nn.Module,
    kind: Kind,
    texts: tuple[list[int], list[int]],
    alone: Read,
    batch: Read,
    padding: Sequence[Side],
) -> None:
    """batch: of the long and the short text, padded on the right."""
    short, long = texts
    for side in padding:
        if side == "left":
            try:
                batch = _read(body, [long, short], list(alone), side)
            except UserError:  # positions are fixed
                continue
        check_padding(
            type(body).__name__, kind, alone, batch, len(short), row=1, side=side,
            repeated=lambda: _read(body, [short, short], list(alone)),
        )  # fmt: skip


def _check_identity(body: nn.Module, site: Site, z: Tensor, output: Tensor) -> None:
    with _running(body):
        error, allowed = identity_error(body, site, z, output.squeeze(-2))
    if not error <= allowed:  # catches NaN too
        raise _wrong(
            body,
            site,
            f"is not a sum over {site.units} heads: its output differs by {error:.2g} from "
            f"the sum of their contributions (rounding explains {allowed:.2g})",
            hints=True,
        )


def _check_shape(body: nn.Module, site: Site, z: Tensor, tokens: int) -> None:
    if z.shape[:2] != (2, tokens):
        seen = "reads" if site.side == "input" else "puts out"
        raise _wrong(
            body, site, f"{seen} {tuple(z.shape[:2])} for 2 texts of {tokens} tokens, not one "
            "vector for each token of each text",
        )  # fmt: skip


def _check_attention(body: nn.Module, site: Site, trace: AttentionTrace) -> None:
    """Compare the heads of a site with those that the attention before it computed."""
    seen = trace.around(site)
    if seen.before is None:
        if seen.after:
            raise _wrong(
                body, site, "runs before the attention of its layer, not after it", hints=True
            )
        if not in_attention(body, site.module):
            raise _wrong(body, site, "is part of no attention module", hints=True)
        return  # a kernel that cannot be seen, or linear attention
    heads, width = seen.before.heads, seen.before.width
    inputs = site.units * site.width
    if width is not None and heads * width != inputs:
        raise _wrong(
            body,
            site,
            f"takes {inputs} inputs, and its attention puts out {heads} heads of width {width}: "
            "they are not side by side in it",
            hints=True,
        )
    if heads != site.units:
        raise _wrong(
            body, site, f"has {site.units} heads by its config, and its attention computes {heads}"
        )


def _check_silence(
    body: nn.Module,
    site: Site,
    heads: Sequence[Site],
    z: Tensor,
    text: Sequence[int],
    trace: AttentionTrace,
) -> None:
    """Silence one head in the attention: its part of ``z`` must change, and no other's direction.

    Norms over all heads change the size of the others too. A pass as far as the site is run.
    """
    head = site.units - 1
    silent = AttentionTrace(trace.silence_of(site))
    with _running(body), silent.of_pass(body, heads, {z.shape[1]}):
        without = _read(body, [text], [site], stop=True)[site]
    where = torch.device("cpu") if z.device.type == "mps" else z.device
    one, other = (x[0].to(where).double() for x in (z, without))  # (tokens, H, D)
    same = torch.nn.functional.cosine_similarity(one, other, dim=-1)  # (tokens, H)
    nothing = (one.norm(dim=-1) == 0) & (other.norm(dim=-1) == 0)  # as of a first token's values
    same = torch.where(nothing, 1.0, same).mean(0)  # (H,)
    share = float((one - other)[:, head].norm() / one[:, head].norm().clamp(min=1e-300))
    others = [h for h in range(site.units) if h != head and not same[h] >= 0.9]
    if others or share < 0.1:  # values may reach it past the attention too (Nystromformer)
        what = f"heads {others} change" if others else f"head {head} does not change"
        raise _wrong(
            body,
            site,
            f"does not hold its {site.units} heads side by side: where the attention's head {head} "
            f"puts out zeros, {what}",
            hints=True,
        )


def _texts(body: nn.Module, ids: Sequence[int] | None) -> tuple[list[int], list[int]]:
    """A text to be run alone, and a longer one to stand beside it in a batch."""
    if ids is not None:
        return list(ids), [*ids, *ids, ids[0]]
    size, special = field_of(body.config, "vocab_size"), special_tokens(body.config)
    known = [token for token in range(3, min(size, 64)) if token not in special] or [0]
    return (
        [known[token % len(known)] for token in range(SHORT)],
        [known[(7 * token + 5) % len(known)] for token in range(LONG)],
    )


def _read(
    body: nn.Module,
    texts: Sequence[Sequence[int]],
    sites: Sequence[Site],
    side: Side = "right",
    *,
    stop: bool = False,
) -> dict[Site, Tensor]:
    """What passes at each site for a batch of texts; those that did not run are left out."""
    read: dict[Site, Tensor] = {}

    def keep(site: Site, z: Tensor) -> None:
        read[site] = z.clone()

    ids, mask = padded(texts, side)
    try:
        with hooked(body, sites, keep, stop_after_last=stop):
            forward(body, model_kind(body.config), ids, mask)
    except VisitedTwice as error:
        times = _count(body, texts, error.site.module)
        raise _wrong(body, error.site, f"ran {times} times in one forward pass, not once") from None
    return read


def _count(body: nn.Module, texts: Sequence[Sequence[int]], path: str) -> int:
    """How often a module runs in one pass."""
    calls: Counter[str] = Counter()
    hook = body.get_submodule(path).register_forward_hook(
        lambda module, args, output: calls.update([path])
    )
    try:
        forward(body, model_kind(body.config), *padded(texts, "right"))
    finally:
        hook.remove()
    return calls[path]


@contextmanager
def _running(body: nn.Module) -> Iterator[None]:
    """Turn whatever a forward pass raises into one message, but for memory that runs out."""
    try:
        yield
    except (UserError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        first = next(iter(str(error).splitlines()), "")
        if getattr(body.config, "quantization_config", None) is not None:
            # Kernels refuse shapes when they are called only: rows that no block of numbers fits.
            raise UserError(
                f"{type(body).__name__}: its quantised weights cannot be computed with on this "
                f"device ({type(error).__name__}: {first})",
                allowed="shapes and devices that the kernels of its method take",
                fix="model.device=cuda, or model.name=ANOTHER_CHECKPOINT that is not quantised",
            ) from error
        raise UserError(
            f"{type(body).__name__} cannot be run on a tiny text ({type(error).__name__}: {first})",
            allowed="models whose forward pass takes input_ids and attention_mask alone",
            fix="model.name=ANOTHER_MODEL",
        ) from error


def tiny_tokens(body: nn.Module, ids: Sequence[int] | None = None) -> Tensor:
    """(1, T) tokens of a tiny pass: these, or the first few ids of the vocabulary."""
    size = field_of(body.config, "vocab_size")
    return torch.tensor([[(3 + token) % size for token in range(5)] if ids is None else list(ids)])


def _outputs(body: nn.Module, site: Site) -> int:
    shape = linear_shape(body.get_submodule(site.module))
    assert shape is not None
    return shape[1]


def _wrong(body: nn.Module, site: Site, what: str, *, hints: bool = False) -> UserError:
    """hints: whether another projection might do better."""
    message = f"{type(body).__name__}: {site.module} ({site.stream} layer {site.layer}) {what}"
    if site.kind != "heads":
        return UserError(message, fix="site=heads")
    return UserError(message, **(projection_hints(body, site.module) if hints else {}))
