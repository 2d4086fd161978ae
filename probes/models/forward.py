"""One forward pass of a body over a padded batch, the same for every kind of model."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from probes.core.errors import UserError
from probes.models.hf_config import Kind, decoder_start
from probes.models.hooks import PassStopped


def token_offset(kind: Kind, stream: str) -> int:
    """The offset of a text in a stream: token ``t`` of the text is at position ``t + offset``.

    The decoder of an encoder-decoder reads the same text as its encoder after its start token, so
    its streams (decoder and cross) are one token longer than the text: offset 1. Otherwise 0.
    With padding on the left this holds for the padded positions too.

    >>> token_offset("decoder", "decoder"), token_offset("encoder-decoder", "cross")
    (0, 1)
    """
    return 1 if kind == "encoder-decoder" and stream != "encoder" else 0


def forward(
    body: nn.Module,
    kind: Kind,
    input_ids: Tensor,
    attention_mask: Tensor,
    *,
    gradients: bool = False,
) -> Any:
    """Run the body and return its output, or None where a hook stopped the pass early.

    Padding gives the numbers of the text alone, up to rounding, for the models and sides that
    ``verify_sites`` passes: all kinds of attention on the right. On the left that takes positions
    that can be given or are relative; layers that mix neighbouring tokens or keep a state
    (convolutions, recurrences, linear attention) may let padding in.

    body: a body, or a model with its language-model head, whose output holds ``logits``.
    input_ids, attention_mask: (batch, tokens); any valid id may stand under a zero of the mask.
    gradients: record the pass, so that it can be differentiated with respect to what hooks made
    require gradients; by default it runs in inference mode.

    Raises:
        UserError: for padding on the left where a model's fixed positions make that impossible.
    """
    with torch.enable_grad() if gradients else torch.inference_mode():
        return _forward(body, kind, input_ids, attention_mask)


def _forward(body: nn.Module, kind: Kind, input_ids: Tensor, attention_mask: Tensor) -> Any:
    padded_left = not bool(attention_mask[:, 0].all())  # checked before it is on a busy device
    embeddings: Tensor = body.get_input_embeddings().weight  # type: ignore[operator]
    device = embeddings.device
    if device.type != "meta":  # offloaded models move their inputs themselves
        input_ids, attention_mask = input_ids.to(device), attention_mask.to(device)
    if padded_left:  # some models count positions from the first token that is no padding token
        pad = getattr(body.config, "pad_token_id", None)
        fill = pad if isinstance(pad, int) and 0 <= pad < len(embeddings) else 0
        input_ids = input_ids.masked_fill(attention_mask == 0, fill)
    inputs: dict[str, Tensor] = {"input_ids": input_ids, "attention_mask": attention_mask}
    if kind == "encoder-decoder":
        inputs |= _decoder_inputs(body.config, input_ids, attention_mask)
    if padded_left:
        inputs |= _positions(body, inputs)
    options = {"use_cache": False} if "use_cache" in _parameters_of(type(body).forward) else {}
    try:
        return body(**inputs, **options)
    except PassStopped:
        return None


def _decoder_inputs(config: Any, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """The text after the start token, which is put right before the first token of the text."""
    rows = torch.arange(len(ids), device=ids.device)
    first = mask.argmax(dim=1)  # (B,) zero but for padding on the left
    ids = torch.cat([ids[:, :1], ids], dim=1)  # (B, T + 1)
    mask = torch.cat([torch.zeros_like(mask[:, :1]), mask], dim=1)  # (B, T + 1)
    ids[rows, first] = decoder_start(config)
    mask[rows, first] = 1
    return {"decoder_input_ids": ids, "decoder_attention_mask": mask}


def _positions(body: nn.Module, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Position ids that count from the first real token, for padding on the left."""
    accepted = _parameters_of(type(body).forward)
    given: dict[str, Tensor] = {}
    for side in ("", "decoder_"):
        if f"{side}position_ids" in accepted and f"{side}attention_mask" in inputs:
            mask = inputs[f"{side}attention_mask"]
            start = _position_start(body)
            given[f"{side}position_ids"] = (mask.cumsum(1) - 1).clamp(min=0) + start  # (B, T)
    if not given and _fixed_positions(body):
        raise UserError(
            f"{type(body).__name__} counts positions from the left edge of the batch, so padding "
            "on the left would change its numbers",
            fix="padding on the right",
        )
    return given


def _position_start(body: nn.Module) -> int:
    """The position of the first token: after the padding index in RoBERTa and models like it."""
    tables = (getattr(module, "position_embeddings", None) for module in body.modules())
    padding = (getattr(table, "padding_idx", None) for table in tables)
    return next((index + 1 for index in padding if isinstance(index, int)), 0)


def _fixed_positions(body: nn.Module) -> bool:
    """Whether the model itself indexes a table of absolute positions, without position ids."""
    return any(
        isinstance(module, nn.Embedding) and "pos" in name.rpartition(".")[2]
        for name, module in body.named_modules()
    )


def reads_tokens(body: nn.Module) -> bool:
    """Whether the body's forward pass takes token ids; that of speech models takes features."""
    main = getattr(body, "main_input_name", "input_ids")
    return main == "input_ids" or "input_ids" in _parameters_of(type(body).forward)


@functools.cache
def _parameters_of(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)
